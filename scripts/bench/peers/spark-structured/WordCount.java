// Words of a topic counted by Spark Structured Streaming: micro-batches of at most a million messages, the updated
// running counts of each appended to PEER_OUT. It ends when it has read what was there at the start.

import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.explode;
import static org.apache.spark.sql.functions.split;

import java.io.FileWriter;
import java.io.PrintWriter;
import org.apache.spark.api.java.function.VoidFunction2;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.streaming.StreamingQuery;
import org.apache.spark.sql.streaming.Trigger;

public final class WordCount {
    private static final int MOST_A_BATCH = 1_000_000;
    /** Its default of 200 is meant for clusters: as many as the topic has. */
    private static final int STATE_PARTITIONS = 4;

    public static void main(String[] args) throws Exception {
        SparkSession session = SparkSession.builder()
            .master("local[" + env("PEER_THREADS") + "]")
            .appName("WordCount")
            .config("spark.ui.enabled", "false")
            .config("spark.local.dir", env("PEER_SCRATCH"))
            .config("spark.sql.warehouse.dir", env("PEER_SCRATCH") + "/warehouse")
            .config("spark.sql.shuffle.partitions", STATE_PARTITIONS)
            .getOrCreate();
        Dataset<Row> messages = session.readStream()
            .format("kafka")
            .option("kafka.bootstrap.servers", env("PEER_BROKERS"))
            .option("subscribe", env("PEER_TOPIC"))
            .option("startingOffsets", "earliest")
            .option("maxOffsetsPerTrigger", MOST_A_BATCH)
            .load()
            .selectExpr("CAST(value AS STRING) AS word");
        if (env("PEER_WORKLOAD").equals("lines")) {
            messages = messages.select(explode(split(col("word"), " ")).as("word"));
        }
        VoidFunction2<Dataset<Row>, Long> append = (counts, batch) -> {
            try (PrintWriter out = new PrintWriter(new FileWriter(env("PEER_OUT"), true))) {
                counts.collectAsList().forEach(row -> out.println(row.getString(0) + "\t" + row.getLong(1)));
            }
        };
        StreamingQuery query = messages.groupBy("word")
            .count()
            .writeStream()
            .outputMode("update")
            .option("checkpointLocation", env("PEER_SCRATCH") + "/checkpoint")
            .trigger(Trigger.AvailableNow())
            .foreachBatch(append)
            .start();
        query.awaitTermination();
        session.stop();
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
