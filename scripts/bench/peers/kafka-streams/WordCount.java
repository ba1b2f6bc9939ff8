// Words of a topic counted by Kafka Streams, exactly once: running counts into the topic PEER_RUN-counts.
// An unbounded program: it ends when its latest counts add up to PEER_TOTAL, the number of words in the topic.

import java.io.FileWriter;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;

public final class WordCount {
    private static final int PARTITIONS = 4;

    private final Map<String, Long> latest = new HashMap<>();
    private final long total = Long.parseLong(env("PEER_TOTAL"));
    private final CountDownLatch ended = new CountDownLatch(1);
    private long counted = 0;
    private Throwable failure;

    public static void main(String[] args) throws Exception {
        new WordCount().run();
        System.exit(0);
    }

    private void run() throws Exception {
        String counts = env("PEER_RUN") + "-counts";
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", env("PEER_BROKERS")))) {
            admin.createTopics(List.of(new NewTopic(counts, PARTITIONS, (short) 1))).all().get();
        }

        StreamsBuilder builder = new StreamsBuilder();
        KStream<byte[], String> words =
            builder.stream(env("PEER_TOPIC"), Consumed.with(Serdes.ByteArray(), Serdes.String()));
        if (env("PEER_WORKLOAD").equals("lines")) {
            words = words.flatMapValues(line -> Arrays.asList(line.split(" ")));
        }
        words.groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count()
            .toStream()
            .peek(this::see)
            .to(counts, Produced.with(Serdes.String(), Serdes.Long()));

        KafkaStreams streams = new KafkaStreams(builder.build(), settings());
        streams.setUncaughtExceptionHandler(error -> {
            failure = error;
            ended.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        ended.await();
        // Commits what is open.
        streams.close();
        if (failure != null) {
            throw new IllegalStateException("a thread failed", failure);
        }
    }

    private static Properties settings() {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, env("PEER_RUN"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, env("PEER_BROKERS"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, env("PEER_SCRATCH"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Integer.parseInt(env("PEER_THREADS")));
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        return settings;
    }

    /** Follows the counts that leave for the topic: the first one is told, the last one ends the run. */
    private synchronized void see(String word, Long count) {
        if (latest.isEmpty()) {
            tellFirst();
        }
        Long before = latest.put(word, count);
        counted += count - (before == null ? 0 : before);
        if (total <= counted) {
            ended.countDown();
        }
    }

    private static void tellFirst() {
        try (PrintWriter out = new PrintWriter(new FileWriter(env("PEER_OUT")))) {
            out.println("first count written to " + env("PEER_RUN") + "-counts");
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    private static String env(String name) {
        String value = System.getenv(name);
        if (value == null) {
            throw new IllegalStateException(name + " is not set");
        }
        return value;
    }
}
