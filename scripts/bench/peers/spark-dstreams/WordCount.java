// Words of a topic counted by Spark Streaming's direct Kafka stream: the counts of each one-second batch, appended to
// PEER_OUT by the driver. It ends after the batch that reaches the offsets at which the topic ended at the start.

import java.io.FileWriter;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.spark.SparkConf;
import org.apache.spark.streaming.Durations;
import org.apache.spark.streaming.api.java.JavaDStream;
import org.apache.spark.streaming.api.java.JavaInputDStream;
import org.apache.spark.streaming.api.java.JavaStreamingContext;
import org.apache.spark.streaming.kafka010.CanCommitOffsets;
import org.apache.spark.streaming.kafka010.ConsumerStrategies;
import org.apache.spark.streaming.kafka010.HasOffsetRanges;
import org.apache.spark.streaming.kafka010.KafkaUtils;
import org.apache.spark.streaming.kafka010.LocationStrategies;
import org.apache.spark.streaming.kafka010.OffsetRange;
import scala.Tuple2;

public final class WordCount {
    /** Most messages of one batch: a million from four partitions, more than it does in the second. */
    private static final int MOST_A_PARTITION = 250_000;

    public static void main(String[] args) throws Exception {
        String topic = env("PEER_TOPIC");
        Map<String, Object> kafka = new HashMap<>();
        kafka.put("bootstrap.servers", env("PEER_BROKERS"));
        kafka.put("group.id", env("PEER_RUN"));
        kafka.put("key.deserializer", StringDeserializer.class);
        kafka.put("value.deserializer", StringDeserializer.class);
        kafka.put("auto.offset.reset", "earliest");
        kafka.put("enable.auto.commit", false);
        Map<TopicPartition, Long> ends = ends(kafka, topic);

        SparkConf conf = new SparkConf()
            .setMaster("local[" + env("PEER_THREADS") + "]")
            .setAppName("WordCount")
            .set("spark.ui.enabled", "false")
            .set("spark.local.dir", env("PEER_SCRATCH"))
            .set("spark.streaming.kafka.maxRatePerPartition", Integer.toString(MOST_A_PARTITION));
        JavaStreamingContext context = new JavaStreamingContext(conf, Durations.seconds(1));
        JavaInputDStream<ConsumerRecord<String, String>> records = KafkaUtils.createDirectStream(
            context, LocationStrategies.PreferConsistent(),
            ConsumerStrategies.<String, String>Subscribe(List.of(topic), kafka));

        JavaDStream<String> words = records.map(ConsumerRecord::value);
        if (env("PEER_WORKLOAD").equals("lines")) {
            words = words.flatMap(line -> Arrays.asList(line.split(" ")).iterator());
        }
        words.mapToPair(word -> new Tuple2<>(word, 1)).reduceByKey(Integer::sum).foreachRDD(rdd -> {
            List<Tuple2<String, Integer>> counts = rdd.collect();
            try (PrintWriter out = new PrintWriter(new FileWriter(env("PEER_OUT"), true))) {
                counts.forEach(count -> out.println(count._1() + "\t" + count._2()));
            }
        });
        // A second output of the same batch, run after the first: offsets are committed when the counts are out.
        CountDownLatch ended = new CountDownLatch(1);
        records.foreachRDD(rdd -> {
            OffsetRange[] ranges = ((HasOffsetRanges) rdd.rdd()).offsetRanges();
            ((CanCommitOffsets) records.inputDStream()).commitAsync(ranges);
            if (Arrays.stream(ranges).allMatch(range -> ends.get(range.topicPartition()) <= range.untilOffset())) {
                ended.countDown();
            }
        });

        context.start();
        Thread failing = new Thread(() -> {
            try {
                context.awaitTermination();
            } catch (Exception error) {
                error.printStackTrace();
                Runtime.getRuntime().halt(1);
            }
        });
        failing.setDaemon(true);
        failing.start();
        ended.await();
        context.stop(true, false);
        System.exit(0);
    }

    private static Map<TopicPartition, Long> ends(Map<String, Object> kafka, String topic) {
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(kafka)) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                .map(partition -> new TopicPartition(topic, partition.partition())).toList();
            return consumer.endOffsets(partitions);
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
