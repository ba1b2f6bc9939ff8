// Words of a topic counted by Flink SQL with mini-batches, checkpointed each second (at least once): the running counts
// appended to PEER_OUT. It ends at the offsets at which the topic ended at the start.

import java.io.FileWriter;
import java.io.PrintWriter;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.functions.TableFunction;
import org.apache.flink.types.Row;
import org.apache.flink.types.RowKind;
import org.apache.flink.util.CloseableIterator;

public final class WordCount {
    private static final int FLUSH_EVERY = 5_000;

    /** The words of a line. */
    @FunctionHint(output = @DataTypeHint("ROW<word STRING>"))
    public static final class Split extends TableFunction<Row> {
        public void eval(String line) {
            for (String word : line.split(" ")) {
                collect(Row.of(word));
            }
        }
    }

    public static void main(String[] args) throws Exception {
        Configuration settings = new Configuration();
        settings.setString("parallelism.default", env("PEER_THREADS"));
        settings.setString("execution.checkpointing.interval", "1 s");
        settings.setString("execution.checkpointing.mode", "AT_LEAST_ONCE");
        settings.setString("execution.checkpointing.storage", "filesystem");
        settings.setString("execution.checkpointing.dir", "file://" + env("PEER_SCRATCH") + "/checkpoint");
        settings.setString("io.tmp.dirs", env("PEER_SCRATCH"));
        settings.setString("table.exec.mini-batch.enabled", "true");
        settings.setString("table.exec.mini-batch.allow-latency", "1 s");
        settings.setString("table.exec.mini-batch.size", "100000");
        TableEnvironment tables = TableEnvironment.create(
            EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(settings).build());
        tables.createTemporarySystemFunction("words_of", Split.class);
        tables.executeSql("CREATE TABLE messages (line STRING) WITH ('connector' = 'kafka', 'format' = 'raw', "
            + "'topic' = '" + env("PEER_TOPIC") + "', 'properties.bootstrap.servers' = '" + env("PEER_BROKERS") + "', "
            + "'properties.group.id' = '" + env("PEER_RUN") + "', "
            + "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset')");
        String query = env("PEER_WORKLOAD").equals("lines")
            ? "SELECT word, COUNT(*) FROM messages, LATERAL TABLE(words_of(line)) GROUP BY word"
            : "SELECT line, COUNT(*) FROM messages GROUP BY line";

        try (CloseableIterator<Row> rows = tables.executeSql(query).collect();
             PrintWriter out = new PrintWriter(new FileWriter(env("PEER_OUT")))) {
            for (long written = 0; rows.hasNext(); ) {
                Row row = rows.next();
                if (row.getKind() == RowKind.UPDATE_BEFORE) {
                    continue;
                }
                out.println(row.getField(0) + "\t" + row.getField(1));
                if (written++ % FLUSH_EVERY == 0) {
                    out.flush();
                }
            }
        }
        System.exit(0);
    }

    private static String env(String name) {
        String value = System.getenv(name);
        if (value == null) {
            throw new IllegalStateException(name + " is not set");
        }
        return value;
    }
}
