//! Whole jobs on a real Kafka: many batches under kills, losses, transactions, brokers that go away.

use std::{thread, time::Duration};

use rdkafka::producer::Producer;

use super::{
    broker::{Broker, End, NewRecord, broker, flush, own_broker, send, unique_name},
    run::{sums, truth},
    support::{Place, START_MS, blocks, wait_until},
};

const PARTITIONS: i32 = 4;

/// Word counts of a topic into `out.log`.
fn word_count(brokers: &str, topic: &str, source: &str) -> String {
    format!(
        r#"
name = "counted"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "kafka"
brokers = "{brokers}"
topics = ["{topic}"]
{source}
[[steps]]
flat_map = 'lambda record: record.value.split(" ")'
[[steps]]
map = "lambda word: (word, 1)"
[[steps]]
reduce_by_key = "lambda a, b: a + b"
[[steps]]
pprint = {{ num = 100_000, to = "out.log" }}
"#
    )
}

/// The line at an offset of a partition.
fn line(partition: i32, offset: u64) -> String {
    format!("p{partition} w{} w{} w{}", offset % 7, offset % 101, (offset * 31) % 997)
}

fn fill(broker: &Broker, topic: &str, lines: u64) -> Vec<String> {
    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        let lines: Vec<String> = (0..lines).map(|offset| line(partition, offset)).collect();
        broker.produce(topic, partition, &lines);
        all.extend(lines);
    }
    all
}

fn bounded() -> String {
    format!("run job.toml --until-caught-up --manual-clock {START_MS}")
}

#[test]
fn kills_lose_no_record_and_double_none() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("killed", PARTITIONS);
    let lines = fill(broker, topic.name(), 25_000);
    let place = Place::with_job(&word_count(&broker.brokers, topic.name(), "max_records_per_partition = 250"));
    let met = place.kill_as_it_writes(&bounded(), 8, 40_000, 20_000);
    assert!(met >= 3, "only {met} kills met a live process");
    place.catch_up();
    let log = place.read("out.log");
    assert_eq!(sums(&log), truth(lines.iter().map(String::as_str)));
    let times: Vec<_> = blocks(&log).into_iter().map(|block| block.time).collect();
    assert_eq!(times.len(), 100, "a batch for each 250 offsets");
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    let calm = Place::with_job(&place.read("job.toml"));
    calm.catch_up();
    assert_eq!(calm.read("out.log"), log);
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn a_replay_of_deleted_records_names_the_range() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("gone", PARTITIONS);
    fill(broker, topic.name(), 100);
    let place = Place::with_job(&word_count(&broker.brokers, topic.name(), "max_records_per_partition = 50"));
    place.catch_up();
    broker.delete_records(topic.name(), 2, 30);
    let name = format!("{}/2", topic.name());
    place.kstream("replay job.toml --verify").expect(4).says(&[&name, "0..30"]);
    place.kstream("replay job.toml --verify --batch 1").expect(0);
}

#[test]
fn retention_past_the_committed_offset_is_data_loss_or_skipped_and_recorded() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("lost", PARTITIONS);
    fill(broker, topic.name(), 10);
    let place = Place::with_job(&word_count(&broker.brokers, topic.name(), ""));
    place.catch_up();
    let log = place.read("out.log");
    fill(broker, topic.name(), 20);
    broker.delete_records(topic.name(), 1, 25);
    let name = format!("{}/1", topic.name());
    place.kstream(&bounded()).expect(4).says(&[&name, "10", "25", "on_data_loss"]);
    assert_eq!(place.read("out.log"), log);
    place.kstream(&format!("{} --set source.on_data_loss=skip", bounded())).expect(0).says(&[&name]);
    let words: u64 = sums(&place.read("out.log")).values().sum();
    assert_eq!(words, 4 * (4 * 10 + 3 * 20 + 5));
    let ledger = place.ledger();
    let lost = ledger.last().unwrap()["lost"][0].as_str().unwrap_or_else(|| panic!("{ledger:?}")).to_owned();
    assert!(lost.contains(&format!("{name} 10..25")), "{lost}");
}

#[test]
fn a_deleted_or_recreated_topic_is_data_loss() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("deleted", PARTITIONS);
    fill(broker, topic.name(), 10);
    let place = Place::with_job(&word_count(&broker.brokers, topic.name(), ""));
    place.catch_up();
    let log = place.read("out.log");
    broker.delete_topic(topic.name());
    place.kstream(&bounded()).expect(4).says(&[topic.name()]);
    broker.create_topic(topic.name(), PARTITIONS, &[]);
    fill(broker, topic.name(), 5);
    place.kstream(&bounded()).expect(4).says(&[topic.name()]);
    assert_eq!(place.read("out.log"), log);
}

#[test]
fn a_topic_made_again_past_the_committed_offset_is_data_loss_or_skipped_and_recorded() {
    let Some(broker) = broker() else { return };
    for fetch in ["native", "librdkafka"] {
        let topic = broker.topic("again", PARTITIONS);
        fill(broker, topic.name(), 10);
        let place = Place::with_job(&word_count(&broker.brokers, topic.name(), &format!("fetch = \"{fetch}\"")));
        place.catch_up();
        let log = place.read("out.log");
        broker.delete_topic(topic.name());
        broker.create_topic(topic.name(), PARTITIONS, &[]);
        fill(broker, topic.name(), 30);
        place.kstream(&bounded()).expect(4).says(&[topic.name(), "deleted and created again", "on_data_loss"]);
        assert_eq!(place.read("out.log"), log, "{fetch}");
        place.kstream(&format!("{} --set source.on_data_loss=skip", bounded())).expect(0);
        let words: u64 = sums(&place.read("out.log")).values().sum();
        assert_eq!(words, 4 * 4 * (10 + 30), "{fetch}: the new topic is read from its beginning");
        let ledger = place.ledger();
        let lost = ledger.iter().filter_map(|batch| batch["lost"].as_array()).flatten();
        let lost: Vec<&str> = lost.filter_map(|lost| lost.as_str()).collect();
        for partition in 0..PARTITIONS {
            let expected = format!("{}/{partition} 10.. (topic recreated)", topic.name());
            assert!(lost.contains(&&*expected), "{fetch}: {lost:?}");
        }
        place.kstream(&bounded()).expect(0);
    }
}

/// The broker dies, half of a log does not come back, and producers write past the offsets that were read.
fn cut_and_grown_again(fetch: &str) {
    let Some(mut own) = own_broker() else { return };
    let topic = unique_name("cut");
    own.create_topic(&topic, 1, &[]);
    (0..20).for_each(|_| own.produce(&topic, 0, (0..20).map(|i| line(0, i))));
    let place = Place::with_job(&word_count(&own.brokers, &topic, &format!("fetch = \"{fetch}\"")));
    place.catch_up();
    let log = place.read("out.log");
    own.kill();
    own.halve_log(&topic, 0);
    own.start_again();
    let cut = own.offsets(&topic, 0).1;
    assert!((1..400).contains(&cut), "the log was cut at {cut}");
    own.produce(&topic, 0, (0..600).map(|i| line(0, i)));
    let name = format!("{topic}/0");
    place.kstream(&bounded()).expect(4).says(&[&name, &cut.to_string(), "on_data_loss"]);
    assert_eq!(place.read("out.log"), log, "{fetch}");
    let skipped = place.kstream(&format!("{} --set source.on_data_loss=skip", bounded())).expect(0);
    assert_eq!(skipped.err.matches("lost and skipped").count(), 1, "{}", skipped.err);
    let words: u64 = sums(&place.read("out.log")).values().sum();
    assert_eq!(words, 4 * (400 + 600), "{fetch}: all of the new log, from the cut on");
    let ledger = place.ledger();
    let lost: Vec<&str> =
        ledger.iter().filter_map(|batch| batch["lost"].as_array()).flatten().filter_map(|lost| lost.as_str()).collect();
    assert_eq!(lost, [format!("{name} {cut}..400 (log truncated)")], "{fetch}");
    own.produce(&topic, 0, ["behind"]);
    place.kstream(&bounded()).expect(0);
    assert!(place.read("out.log").contains("'behind'"), "{fetch}");
}

#[test]
fn a_log_that_was_cut_and_has_grown_again_is_data_loss_or_skipped_over_own_connections() {
    cut_and_grown_again("native");
}

#[test]
fn a_log_that_was_cut_and_has_grown_again_is_data_loss_or_skipped_by_librdkafka() {
    cut_and_grown_again("librdkafka");
}

#[test]
fn an_open_transaction_holds_back_its_partition_and_no_other() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("held", 2);
    let open = broker.transactional_producer();
    open.begin_transaction().unwrap();
    send(&open, topic.name(), 0, &NewRecord::value("open"));
    flush(&open);
    broker.produce(topic.name(), 0, ["behind"]);
    let job = word_count(&broker.brokers, topic.name(), "").replace("\"1s\"", "\"100ms\"");
    let place = Place::with_job(&job);
    let running = place.start("run job.toml --progress progress.jsonl");
    for word in ["a", "b", "c"] {
        broker.produce(topic.name(), 1, [word]);
        wait_until(word, || place.read("out.log").contains(&format!("('{word}', 1)")));
    }
    let log = place.read("out.log");
    assert!(!log.contains("open") && !log.contains("behind"), "{log}");
    open.commit_transaction(Duration::from_secs(10)).unwrap();
    wait_until("what was held back", || place.read("out.log").contains("('behind', 1)"));
    running.signal("-TERM");
    running.wait().expect(0);
    assert_eq!(sums(&place.read("out.log")), truth(["a", "b", "c", "open", "behind"].into_iter()));
}

#[test]
fn aborted_records_are_never_seen_and_markers_alone_are_a_batch() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("aborted", 1);
    broker.transaction(topic.name(), [(0, "a"), (0, "a")], End::Abort);
    broker.transaction(topic.name(), [(0, "b")], End::Commit);
    broker.transaction(topic.name(), [(0, "c"), (0, "d")], End::Abort);
    let place = Place::with_job(&word_count(&broker.brokers, topic.name(), "max_records_per_partition = 1"));
    place.catch_up();
    let log = place.read("out.log");
    assert_eq!(sums(&log), truth(["b"]));
    assert_eq!(blocks(&log).len(), 8, "each offset is a batch, markers too");
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn a_partition_that_is_added_is_read_from_its_beginning() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("grown", 1);
    broker.produce(topic.name(), 0, ["a b"]);
    let job =
        word_count(&broker.brokers, topic.name(), "properties = { \"topic.metadata.refresh.interval.ms\" = \"200\" }");
    let place = Place::with_job(&job.replace("batch_interval = \"1s\"", "batch_interval = \"200ms\""));
    let running = place.start("run job.toml");
    wait_until("the first record", || place.read("out.log").contains("('a', 1)"));
    broker.add_partitions(topic.name(), 2);
    broker.produce(topic.name(), 1, ["c"]);
    wait_until("the new partition", || place.read("out.log").contains("('c', 1)"));
    running.signal("-TERM");
    running.wait().expect(0);
    assert_eq!(sums(&place.read("out.log")), truth(["a b c"]));
}

#[test]
fn a_broker_that_is_killed_and_comes_back_costs_one_warning_and_no_record() {
    let Some(mut own) = own_broker() else { return };
    let topic = unique_name("away");
    own.create_topic(&topic, PARTITIONS, &[]);
    let mut lines = fill(&own, &topic, 100);
    let job = word_count(&own.brokers, &topic, "");
    let place = Place::with_job(&job.replace("batch_interval = \"1s\"", "batch_interval = \"200ms\""));
    let mut running = place.start("run job.toml");
    wait_until("the first records", || place.read("out.log").contains("p0"));
    own.kill();
    thread::sleep(Duration::from_secs(4));
    assert!(running.is_running(), "{}", running.err());
    own.start_again();
    own.produce(&topic, 0, ["back again"]);
    lines.push("back again".to_owned());
    wait_until("records after the return", || place.read("out.log").contains("'again'"));
    running.signal("-TERM");
    let ended = running.wait().expect(0);
    let warnings: Vec<_> = ended.err.lines().filter(|line| line.contains("WARN")).collect();
    let late = |line: &&&str| line.contains("falling behind");
    assert_eq!(warnings.len() - warnings.iter().filter(late).count(), 1, "{}", ended.err);
    assert_eq!(sums(&place.read("out.log")), truth(lines.iter().map(String::as_str)));
    place.kstream("replay job.toml --verify --batch 0").expect(0);
}

/// Through either data plane: records are being fetched when the broker dies.
#[test]
fn an_outage_amid_a_batch_costs_one_warning() {
    let Some(mut own) = own_broker() else { return };
    let topic = unique_name("amid");
    own.create_topic(&topic, PARTITIONS, &[]);
    let lines = fill(&own, &topic, 200_000);
    let mut running: Vec<_> = ["native", "librdkafka"]
        .map(|fetch| {
            let source =
                format!("fetch = \"{fetch}\"\nmax_records_per_partition = 200_000\nprefetch_memory = \"1MiB\"");
            let job = word_count(&own.brokers, &topic, &source).replace("\"1s\"", "\"2s\"");
            let place = Place::with_job(&job);
            // The evaluator is slower than either plane: the batch is not over before the broker is killed.
            let mut command = place.command("run job.toml");
            command.env("KSTREAM_LAMBDAS", "starlark");
            let run = place.spawn(command);
            (fetch, place, run)
        })
        .into();
    for (_, place, _) in &running {
        wait_until("a planned batch", || {
            place.path("checkpoint").exists()
                && place.kstream("batches job.toml -o json").out.contains("\"status\":\"planned\"")
        });
    }
    own.kill();
    thread::sleep(Duration::from_secs(30));
    for (fetch, place, running) in &mut running {
        assert!(running.is_running(), "{fetch}: {}", running.err());
        assert!(place.read("out.log").is_empty(), "{fetch}: the batch was over before the broker was killed");
    }
    own.start_again();
    for (fetch, place, running) in running {
        wait_until("the batch", || !place.read("out.log").is_empty());
        thread::sleep(Duration::from_secs(3));
        running.signal("-TERM");
        let ended = running.wait().expect(0);
        assert_eq!(ended.err.matches("WARN").count(), 1, "{fetch}: {}", ended.err);
        assert_eq!(sums(&place.read("out.log")), truth(lines.iter().map(String::as_str)), "{fetch}");
    }
}

#[test]
fn a_group_mirrors_committed_offsets_and_decides_nothing() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("mirrored", PARTITIONS);
    let mut lines = fill(broker, topic.name(), 100);
    let group = unique_name("lag");
    let job = word_count(&broker.brokers, topic.name(), "max_records_per_partition = 30");
    let place = Place::with_job(&format!("mirror_offsets_to = \"{group}\"\n{job}"));
    let committed = |place: &Place| -> Vec<Option<i64>> {
        let ledger = place.ledger();
        let ranges = ledger.last().unwrap()["ranges"].as_array().unwrap();
        ranges.iter().map(|range| range["until"].as_i64()).collect()
    };
    place.kstream(&format!("{} --max-batches 2", bounded())).expect(0);
    assert_eq!(broker.group_offsets(&group, topic.name(), PARTITIONS), vec![Some(60); 4]);
    assert_eq!(committed(&place), vec![Some(60); 4]);
    place.catch_up();
    assert_eq!(broker.group_offsets(&group, topic.name(), PARTITIONS), vec![Some(100); 4]);

    broker.set_group_offsets(&group, topic.name(), &[3, 2, 1, 0]);
    broker.produce(topic.name(), 0, ["a b"]);
    lines.push("a b".to_owned());
    place.catch_up();
    assert_eq!(broker.group_offsets(&group, topic.name(), PARTITIONS), [101, 100, 100, 100].map(Some));

    broker.delete_group(&group);
    assert_eq!(broker.group_offsets(&group, topic.name(), PARTITIONS), [None; 4]);
    place.catch_up().says(&["batches=0"]);
    assert_eq!(broker.group_offsets(&group, topic.name(), PARTITIONS), [101, 100, 100, 100].map(Some));
    assert_eq!(sums(&place.read("out.log")), truth(lines.iter().map(String::as_str)));
}

#[test]
fn a_group_that_cannot_be_written_to_is_one_warning() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("member", 1);
    let group = unique_name("taken");
    let _member = broker.member(&group, topic.name());
    let job = word_count(&broker.brokers, topic.name(), "").replace("\"1s\"", "\"100ms\"");
    let place = Place::with_job(&format!("mirror_offsets_to = \"{group}\"\n{job}"));
    let running = place.start("run job.toml");
    for word in ["a", "b", "c"] {
        broker.produce(topic.name(), 0, [word]);
        wait_until("the word", || place.read("out.log").contains(&format!("('{word}', 1)")));
    }
    thread::sleep(Duration::from_millis(500));
    running.signal("-TERM");
    let ended = running.wait().expect(0);
    let warnings: Vec<_> = ended.err.lines().filter(|line| line.contains("mirror") && line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{}", ended.err);
    assert!(warnings[0].contains(&group), "{}", warnings[0]);
}

/// Two brokers; a job reads while one is killed, is missed, and gets its leaders back.
fn follow_leaders(fetch: &str) {
    let Some(first) = own_broker() else { return };
    let mut second = first.second();
    let topic = unique_name("moved");
    first.create_replicated_topic(&topic, PARTITIONS, 2, &[]);
    let moves_to_both = || {
        let leaders = first.leaders(&topic);
        leaders.contains(&1) && leaders.contains(&2)
    };
    wait_until("leaders on both brokers", moves_to_both);
    let mut lines = fill(&first, &topic, 200);
    let job = word_count(&first.brokers, &topic, &format!("fetch = \"{fetch}\"\nmax_records_per_partition = 20"));
    let place = Place::with_job(&job.replace("batch_interval = \"1s\"", "batch_interval = \"200ms\""));
    let mut running = place.start("run job.toml");
    wait_until("the first records", || place.read("out.log").contains("p0"));
    let mut say = |word: &str| {
        for partition in 0..PARTITIONS {
            let line = format!("{word}{partition} {word}");
            first.produce(&topic, partition, [&line]);
            lines.push(line);
        }
        let last = |partition| format!("'{word}{partition}'");
        wait_until(word, || (0..PARTITIONS).all(|partition| place.read("out.log").contains(&last(partition))));
    };
    second.kill();
    wait_until("one leader", || first.leaders(&topic).iter().all(|&leader| leader == 1));
    say("alone");
    second.start_again();
    wait_until("leaders on both brokers again", moves_to_both);
    say("together");
    // In good order: its leaders move before it goes.
    second.stop();
    say("after");
    second.start_again();
    wait_until("leaders on both brokers at last", moves_to_both);
    say("end");
    assert!(running.is_running(), "{}", running.err());
    running.signal("-TERM");
    let ended = running.wait().expect(0);
    let warnings: Vec<_> =
        ended.err.lines().filter(|line| line.contains("WARN") && !line.contains("falling behind")).collect();
    assert!(warnings.len() <= 2, "{fetch}: {}", ended.err);
    assert_eq!(sums(&place.read("out.log")), truth(lines.iter().map(String::as_str)), "{fetch}");
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn leaders_that_move_are_followed_by_own_connections() {
    follow_leaders("native");
}

#[test]
fn leaders_that_move_are_followed_by_librdkafka() {
    follow_leaders("librdkafka");
}

#[test]
fn a_broker_that_is_not_there_ends_the_run_after_the_limit() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::with_job(&word_count(&closed.to_string(), "words", "unreachable_limit = \"2s\""));
    let ended = place.kstream("run job.toml").expect(6).says(&[&closed.to_string()]);
    assert_eq!(ended.err.matches("WARN").count(), 1, "{}", ended.err);
    let warning = ended.err.lines().find(|line| line.contains("WARN")).unwrap();
    assert!(warning.contains(&closed.to_string()) && warning.contains("Connection refused"), "{warning}");
}

fn sasl(broker: &Broker, topic: &str, mechanism: &str) -> String {
    let ca = broker.ca.display();
    let user = &broker.user;
    word_count(
        &broker.sasl_ssl_brokers,
        topic,
        &format!(
            r#"unreachable_limit = "5s"
properties = {{ "security.protocol" = "SASL_SSL", "ssl.ca.location" = "{ca}", "sasl.mechanism" = "{mechanism}", "sasl.username" = "{user}", "sasl.password" = {{ env = "TEST_SECRET" }} }}"#
        ),
    )
}

#[test]
fn a_listener_that_does_not_fit_is_explained() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("unfit", 1);
    let ca = broker.ca.display().to_string();
    let tls = |ca: &str| format!(r#""security.protocol" = "ssl", "ssl.ca.location" = "{ca}""#);
    let (plain, ssl, sasl_ssl) = (&broker.brokers, &broker.ssl_brokers, &broker.sasl_ssl_brokers);
    let no_ca = r#""security.protocol" = "ssl""#.to_owned();
    let cases: Vec<(&String, String, &[&str])> = vec![
        (ssl, no_ca, &["certificate verify failed", "ssl.ca.location"]),
        (plain, tls(&ca), &["SSL connection closed", "security.protocol"]),
        (ssl, String::new(), &["security.protocol"]),
        (sasl_ssl, String::new(), &["security.protocol"]),
        (ssl, tls("no/such/ca.pem"), &["ssl.ca.location", "no/such/ca.pem", "no such file"]),
    ];
    let running: Vec<_> = cases
        .into_iter()
        .map(|(brokers, properties, says)| {
            let source = format!("unreachable_limit = \"4s\"\nproperties = {{ {properties} }}");
            let place = Place::with_job(&word_count(brokers, topic.name(), &source));
            let running = place.start(&bounded());
            (place, running, properties, says)
        })
        .collect();
    for (_place, running, properties, says) in running {
        let ended = running.wait();
        let error = ended.err.lines().skip_while(|line| !line.starts_with("error")).collect::<Vec<_>>().join("\n");
        for fact in says {
            assert!(error.contains(fact), "{properties}: no {fact:?} in {}", ended.err);
        }
    }
}

#[test]
fn scram_over_tls_reads_and_a_wrong_password_is_refused_and_never_shown() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("secured", 1);
    broker.produce_records(topic.name(), 0, [NewRecord::value("a b").key("k"), NewRecord::value("b")]);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] {
        let place = Place::with_job(&sasl(broker, topic.name(), mechanism));
        let run = |secret: &str, verbose: &str| {
            let mut command = place.command(&format!("{} --progress progress.jsonl {verbose}", bounded()));
            command.env("TEST_SECRET", secret);
            place.spawn(command).wait()
        };
        let refused = run("wr0ng-passw0rd", "-vv").expect(6);
        assert!(!(refused.err.clone() + &refused.out).contains("wr0ng-passw0rd"), "{}", refused.err);
        assert_eq!(place.read("out.log"), "");
        run(&broker.password, "-vv").expect(0);
        assert_eq!(sums(&place.read("out.log")), truth(["a b b"]), "{mechanism}");
        for (name, bytes) in place.files("checkpoint") {
            let secret = broker.password.as_bytes();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{name} holds the secret");
        }
    }
}

#[test]
fn absurd_timestamps_are_plain_numbers_that_move_no_batch_and_no_window() {
    let Some(broker) = broker() else { return };
    let any = i64::MAX.to_string();
    let settings =
        [("retention.ms", "-1"), ("message.timestamp.after.max.ms", &any), ("message.timestamp.before.max.ms", &any)];
    let topic = broker.topic_with("absurd", 1, &settings);
    let absurd = [253_402_300_800_000_000, 2, 1, 4_000_000_000_000, i64::MAX / 1_000, 1_600_000_000_000];
    broker.produce_records(topic.name(), 0, absurd.map(|at| NewRecord::value("w").timestamp(at)));
    for fetch in ["native", "librdkafka"] {
        let source = format!("fetch = \"{fetch}\"\nmax_records_per_partition = 2");
        let steps = "[[steps]]\nmap = \"lambda record: record.timestamp\"\n[[steps]]\npprint = { to = \"stamps.log\" }\n\
                     [[steps]]\nfrom = \"source\"\ncount_by_window = { length = \"2s\", slide = \"1s\" }\n\
                     [[steps]]\npprint = { to = \"windows.log\" }\n";
        let job = word_count(&broker.brokers, topic.name(), &source);
        let (head, _) = job.split_once("[[steps]]").unwrap();
        let place = Place::with_job(&format!("{head}{steps}"));
        place.catch_up();
        let lines = |log: &str| blocks(&place.read(log)).into_iter().flat_map(|block| block.lines).collect::<Vec<_>>();
        assert_eq!(lines("stamps.log"), absurd.map(|at| at.to_string()), "{fetch}");
        assert_eq!(lines("windows.log"), ["2", "4", "4"], "{fetch}: windows lie over batch times");
        place.kstream("replay job.toml --verify").expect(0);
    }
}

#[test]
fn latest_is_where_the_log_ended_when_the_job_started_not_at_its_first_tick() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("late", 1);
    broker.produce(topic.name(), 0, &["before".to_owned()]);
    let job = word_count(&broker.brokers, topic.name(), "start = \"latest\"").replace("\"1s\"", "\"6s\"");
    let place = Place::with_job(&job);
    let run = place.start("run job.toml");
    wait_until("start", || run.err().contains("started"));
    thread::sleep(Duration::from_millis(500));
    broker.produce(topic.name(), 0, &["after".to_owned()]);
    wait_until("batch", || !place.ledger().is_empty() && place.ledger()[0]["status"] == "committed");
    run.signal("-TERM");
    run.wait().expect(0);
    let log = place.read("out.log");
    assert!(log.contains("('after', 1)") && !log.contains("before"), "{log}");
}
