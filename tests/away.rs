//! Brokers that are away: the job waits for as long as `unreachable_limit` says, whoever they belong to, and tells it.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use kafka_protocol::messages::ApiKey;

use super::{
    broker::{Broker, broker, own_broker, unique_name},
    proxy::{Fault, Plan, Proxy},
    support::{Ended, Place, START_MS, of_kafka, wait_until},
};

/// Numbers from the embedded broker, or from `source`, to `output`.
fn job(source: &str, limit: &str, output: &str) -> String {
    format!(
        r#"
name = "{name}"
batch_interval = "200ms"
checkpoint_dir = "checkpoint"
[source]
kind = "kafka"
{source}
unreachable_limit = "{limit}"
[[steps]]
map = "lambda record: record.value"
[[steps]]
name = "out"
to_kafka = {{ {output} }}
"#,
        name = unique_name("away")
    )
}

const EMBEDDED: &str = r#"brokers = "embedded"
topics = ["numbers"]
embedded = { lines = "lines.txt", rate = 1_000_000_000, partitions = 1 }"#;

/// The end of a job whose brokers were away from `since` on: exit 6 after the limit, and not long after it.
#[track_caller]
fn check(ended: Ended, since: Instant, limit_s: u64) {
    let took = since.elapsed();
    let ended = ended.expect(6).says(&["waiting for Kafka", "output out", "`unreachable_limit`"]);
    assert_eq!(ended.err.matches("waiting for Kafka").count(), 1, "{}", ended.err);
    let limit = Duration::from_secs(limit_s);
    assert!(limit <= took && took < limit + limit / 2 + Duration::from_secs(4), "{took:?}\n{}", ended.err);
}

#[test]
fn an_output_that_is_not_there_ends_the_run_after_the_limit() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // One that takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for brokers in [closed, silent.local_addr().unwrap()] {
        for delivery in ["exactly_once", "at_least_once"] {
            let output = format!("topic = \"out\", brokers = \"{brokers}\", delivery = \"{delivery}\"");
            let place = Place::with_job(&job(EMBEDDED, "3s", &output));
            place.write("lines.txt", "1\n2\n");
            let began = Instant::now();
            check(place.kstream(&format!("run job.toml --until-caught-up --manual-clock {START_MS}")), began, 3);
        }
    }
}

/// Keys of a source that gives one record a batch.
fn one_a_batch(broker: &Broker, topic: &str) -> String {
    format!("brokers = \"{}\"\ntopics = [\"{topic}\"]\nmax_records_per_partition = 1", broker.brokers)
}

#[test]
fn an_output_that_goes_away_amid_batches_ends_the_run_after_the_limit() {
    let Some(broker) = broker() else { return };
    for delivery in ["exactly_once", "at_least_once"] {
        let Some(mut own) = own_broker() else { return };
        let (input, output) = (broker.topic("in", 1), unique_name("out"));
        own.create_topic(&output, 1, &[]);
        broker.produce(input.name(), 0, ["first"]);
        let keys = format!("topic = \"{output}\", brokers = \"{}\", delivery = \"{delivery}\"", own.brokers);
        let place = Place::with_job(&job(&one_a_batch(broker, input.name()), "6s", &keys));
        let mut running = place.start("run job.toml");
        wait_until("the first delivery", || !own.read_committed(&output).is_empty() || !running.is_running());
        thread::sleep(Duration::from_millis(500));
        own.kill();
        let killed = Instant::now();
        broker.produce(input.name(), 0, ["second"]);
        check(running.wait(), killed, 6);
        own.start_again();
        place.catch_up();
        let delivered: Vec<_> = own.read_committed(&output).iter().map(|record| record.value_text()).collect();
        assert_eq!(delivered, ["first", "second"], "{delivery}");
    }
}

#[test]
fn an_output_that_falls_silent_amid_batches_ends_the_run_after_the_limit() {
    let Some(broker) = broker() else { return };
    for delivery in ["exactly_once", "at_least_once"] {
        let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
        broker.produce(input.name(), 0, ["first"]);
        let proxy = Proxy::before(&broker.brokers);
        let keys = format!("topic = \"{}\", brokers = \"{}\", delivery = \"{delivery}\"", output.name(), proxy.address);
        let place = Place::with_job(&job(&one_a_batch(broker, input.name()), "6s", &keys));
        let mut running = place.start("run job.toml");
        wait_until("the first delivery", || !broker.read_committed(output.name()).is_empty() || !running.is_running());
        thread::sleep(Duration::from_millis(500));
        proxy.fall_silent();
        let silent = Instant::now();
        broker.produce(input.name(), 0, ["second"]);
        check(running.wait(), silent, 6);
        place.write("job.toml", place.read("job.toml").replace(&proxy.address, &broker.brokers));
        place.catch_up();
        let delivered: Vec<_> = broker.read_committed(output.name()).iter().map(|record| record.value_text()).collect();
        assert_eq!(delivered, ["first", "second"], "{delivery}");
    }
}

#[test]
fn a_broker_that_dies_amid_a_transaction_is_told_within_seconds_and_a_stop_ends_the_wait() {
    let Some(broker) = broker() else { return };
    for delivery in ["exactly_once", "at_least_once"] {
        let Some(mut own) = own_broker() else { return };
        let (input, output) = (broker.topic("in", 1), unique_name("out"));
        own.create_topic(&output, 1, &[]);
        broker.produce(input.name(), 0, ["first"]);
        let keys = format!("topic = \"{output}\", brokers = \"{}\", delivery = \"{delivery}\"", own.brokers);
        let place = Place::with_job(&job(&one_a_batch(broker, input.name()), "10m", &keys));
        let mut running = place.start("run job.toml");
        wait_until("the first delivery", || !own.read_committed(&output).is_empty() || !running.is_running());
        thread::sleep(Duration::from_millis(500));
        own.kill();
        let killed = Instant::now();
        broker.produce(input.name(), 0, ["second"]);
        wait_until("the warning", || running.err().contains("waiting for Kafka") || !running.is_running());
        assert!(killed.elapsed() < Duration::from_secs(15), "{:?}", killed.elapsed());
        let asked = Instant::now();
        running.signal("-TERM");
        let ended = running.wait().expect(6).says(&["asked to stop while Kafka was away", "output out", "next start"]);
        assert!(asked.elapsed() < Duration::from_secs(15), "{:?}\n{}", asked.elapsed(), ended.err);
        own.start_again();
        place.catch_up();
        let delivered: Vec<_> = own.read_committed(&output).iter().map(|record| record.value_text()).collect();
        assert_eq!(delivered, ["first", "second"], "{delivery}");
    }
}

#[test]
fn a_topic_deleted_under_the_job_is_told_as_that_and_not_as_brokers_that_are_away() {
    let Some(own) = own_broker() else { return };
    let on_error =
        "on_error = \"dead_letter\"\ndead_letter = { topic = \"DEAD\" }\nmap = \"lambda record: int(record.value)\"";
    for (output, deleted) in [
        ("topic = \"OUT\", delivery = \"exactly_once\"", "OUT"),
        ("topic = \"OUT\", delivery = \"at_least_once\"", "OUT"),
        // Where the batch's identity is recorded, and nothing else.
        ("topic = \"OUT\", commit_topic = \"HOME\"", "HOME"),
        ("topic = \"OUT\"", "DEAD"),
    ] {
        let (input, topic) = (unique_name("in"), unique_name("topic"));
        let names = ["OUT", "HOME", "DEAD"].map(|word| (word, format!("{topic}-{}", word.to_lowercase())));
        let named = |text: &str| names.iter().fold(text.to_owned(), |text, (word, name)| text.replace(word, name));
        own.create_topic(&input, 1, &[]);
        names.iter().for_each(|(_, name)| own.create_topic(name, 1, &[]));
        own.produce(&input, 0, ["first"]);
        let source = format!("brokers = \"{}\"\ntopics = [\"{input}\"]\nmax_records_per_partition = 1", own.brokers);
        let mut text = job(&source, "2m", output);
        if deleted == "DEAD" {
            text = text.replace("map = \"lambda record: record.value\"", on_error);
        }
        let place = Place::with_job(&named(&text));
        let mut running = place.start("run job.toml");
        let shown = named(if deleted == "DEAD" { "DEAD" } else { "OUT" });
        wait_until("the first delivery", || !own.read_committed(&shown).is_empty() || !running.is_running());
        thread::sleep(Duration::from_millis(500));
        let gone = named(deleted);
        own.delete_topic(&gone);
        let since = Instant::now();
        own.produce(&input, 0, ["second"]);
        running.wait().expect(1).says(&["error: output", &gone, "does not exist", "kstream topics create"]);
        assert!(since.elapsed() < Duration::from_secs(30), "{output}: {:?}", since.elapsed());
        own.create_topic(&gone, 1, &[]);
        if output.contains("at_least_once") {
            place.catch_up();
            let delivered: Vec<_> = own.read_committed(&gone).iter().map(|record| record.value_text()).collect();
            assert_eq!(delivered, ["second"]);
        }
    }
}

#[test]
fn a_transaction_timeout_beyond_what_brokers_allow_is_refused_at_once() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
    broker.produce(input.name(), 0, ["first"]);
    let source = format!("brokers = \"{}\"\ntopics = [\"{}\"]", broker.brokers, input.name());
    let keys = format!("topic = \"{}\", properties = {{ \"transaction.timeout.ms\" = 90000000 }}", output.name());
    let place = Place::with_job(&job(&source, "2m", &keys));
    let began = Instant::now();
    let ended = place.kstream(&format!("run job.toml --until-caught-up --manual-clock {START_MS}")).expect(6);
    ended.says(&["output out", "transaction.timeout.ms", "transaction.max.timeout.ms"]);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// Whether a SIGTERM ends the run within a moment, with `code`.
#[track_caller]
fn stops(running: super::support::Running, code: i32) -> Ended {
    let asked = Instant::now();
    running.signal("-TERM");
    let ended = running.wait().expect(code);
    assert!(asked.elapsed() < Duration::from_millis(2_500), "{:?}\n{}", asked.elapsed(), ended.err);
    ended
}

/// Words into a log, by a source behind `address`.
fn reading(address: &str, topic: &str, fetch: &str) -> Place {
    let keys = format!("max_records_per_partition = 10\nfetch = \"{fetch}\"");
    let steps =
        "[[steps]]\nmap = \"lambda record: record.value\"\n[[steps]]\npprint = { num = 1_000, to = \"out.log\" }";
    Place::with_job(&of_kafka(&unique_name("away"), "200ms", (address, topic), &keys, steps))
}

const PLANES: [&str; 2] = ["native", "librdkafka"];

#[test]
fn a_stop_ends_the_wait_for_brokers_that_never_answered_before_the_first_plan() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for fetch in PLANES {
        for after in [300, 4_500, 7_000] {
            let place = reading(&silent.local_addr().unwrap().to_string(), "words", fetch);
            let running = place.start("run job.toml");
            thread::sleep(Duration::from_millis(after));
            stops(running, 0).says(&["stopped"]);
        }
    }
    // An output's, before anything is planned.
    let place = Place::with_job(&job(
        EMBEDDED,
        "10m",
        &format!("topic = \"out\", brokers = \"{}\"", silent.local_addr().unwrap()),
    ));
    place.write("lines.txt", "1\n2\n");
    let running = place.start("run job.toml");
    wait_until("the warning", || running.err().contains("waiting for Kafka"));
    stops(running, 6).says(&["asked to stop while Kafka was away", "output out"]);
}

#[test]
fn a_stop_ends_the_wait_for_a_broker_that_falls_silent_amid_a_fetch_or_between_batches() {
    let Some(broker) = broker() else { return };
    for (fetch, amid_fetch) in PLANES.into_iter().flat_map(|fetch| [(fetch, true), (fetch, false)]) {
        let topic = broker.topic("in", 3);
        let produce = |word: &str| (0..3).for_each(|partition| broker.produce(topic.name(), partition, [word]));
        produce("first");
        let proxy = Proxy::before(&broker.brokers);
        let place = reading(&proxy.address, topic.name(), fetch);
        let mut running = place.start("run job.toml --threads 1");
        let is_read =
            || std::fs::read_to_string(place.path("out.log")).is_ok_and(|log| log.matches("first").count() == 3);
        wait_until("the first batches", || is_read() || !running.is_running());
        match amid_fetch {
            true => proxy.swallow(ApiKey::Fetch),
            false => proxy.fall_silent(),
        }
        produce("second");
        let silent = Instant::now();
        wait_until("the warning", || running.err().contains("waiting for Kafka") || !running.is_running());
        assert!(silent.elapsed() < Duration::from_secs(8), "{:?}\n{}", silent.elapsed(), running.err());
        if amid_fetch {
            stops(running, 6).says(&["asked to stop while Kafka was away", "source source", "next start"]);
        } else {
            stops(running, 0).says(&["stopped"]);
        }
        place.write("job.toml", place.read("job.toml").replace(&proxy.address, &broker.brokers));
        place.catch_up();
        for word in ["first", "second"] {
            let log = place.read("out.log");
            assert_eq!(log.lines().filter(|line| *line == word).count(), 3, "{fetch}: {word}\n{log}");
        }
    }
}

#[test]
fn a_stop_ends_the_wait_for_a_broker_that_is_frozen_while_an_output_publishes() {
    let Some(broker) = broker() else { return };
    for delivery in ["exactly_once", "at_least_once"] {
        let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
        broker.produce(input.name(), 0, ["first"]);
        let proxy = Proxy::before(&broker.brokers);
        let keys = format!("topic = \"{}\", brokers = \"{}\", delivery = \"{delivery}\"", output.name(), proxy.address);
        let place = Place::with_job(&job(&one_a_batch(broker, input.name()), "10m", &keys));
        let mut running = place.start("run job.toml");
        wait_until("the first delivery", || !broker.read_committed(output.name()).is_empty() || !running.is_running());
        thread::sleep(Duration::from_millis(500));
        proxy.fall_silent();
        broker.produce(input.name(), 0, ["second"]);
        wait_until("the warning", || running.err().contains("waiting for Kafka") || !running.is_running());
        stops(running, 6).says(&["asked to stop while Kafka was away", "output out", "next start"]);
        place.write("job.toml", place.read("job.toml").replace(&proxy.address, &broker.brokers));
        place.catch_up();
        let delivered: Vec<_> = broker.read_committed(output.name()).iter().map(|record| record.value_text()).collect();
        assert_eq!(delivered, ["first", "second"], "{delivery}");
    }
}

/// What is left unanswered of a transaction: a request that does not arrive, or the answer to one that was done.
#[derive(Debug, Clone, Copy)]
enum Silent {
    Requests(ApiKey),
    Answer(ApiKey),
}

#[test]
fn a_stop_ends_the_wait_in_every_call_of_a_transaction_and_the_next_start_finds_out_what_became_of_it() {
    let Some(broker) = broker() else { return };
    let calls =
        [ApiKey::AddPartitionsToTxn, ApiKey::Produce, ApiKey::AddOffsetsToTxn, ApiKey::TxnOffsetCommit, ApiKey::EndTxn];
    let cases: Vec<Silent> = calls.iter().flat_map(|key| [Silent::Requests(*key), Silent::Answer(*key)]).collect();
    for cases in cases.chunks(5) {
        thread::scope(|scope| {
            for case in cases {
                scope.spawn(|| stopped_amid_a_transaction(broker, *case));
            }
        });
    }
}

fn stopped_amid_a_transaction(broker: &Broker, case: Silent) {
    let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
    broker.produce(input.name(), 0, ["first"]);
    let proxy = Proxy::before(&broker.brokers);
    let keys = format!("topic = \"{}\", brokers = \"{}\"", output.name(), proxy.address);
    let place = Place::with_job(&job(&one_a_batch(broker, input.name()), "10m", &keys));
    let mut running = place.start("run job.toml");
    wait_until("the first delivery", || !broker.read_committed(output.name()).is_empty() || !running.is_running());
    thread::sleep(Duration::from_millis(500));
    match case {
        Silent::Requests(key) => proxy.swallow(key),
        // It stays away: what became of the call is not heard.
        Silent::Answer(key) => {
            proxy.play(Plan { key, nth: 1, fault: Fault::AnswerLost, away: Duration::from_secs(600) });
        }
    }
    broker.produce(input.name(), 0, ["second"]);
    wait_until("the warning", || running.err().contains("waiting for Kafka") || !running.is_running());
    let asked = Instant::now();
    let ended = stops(running, 6).says(&["asked to stop while Kafka was away", "output out", "next start"]);
    eprintln!("{case:?}: stopped after {:?}", asked.elapsed());
    if let Silent::Answer(_) = case {
        assert!(proxy.was_played(), "{case:?}");
    }
    place.write("job.toml", place.read("job.toml").replace(&proxy.address, &broker.brokers));
    place.catch_up();
    let delivered: Vec<_> = broker.read_committed(output.name()).iter().map(|record| record.value_text()).collect();
    assert_eq!(delivered, ["first", "second"], "{case:?}\n{}", ended.err);
}

/// Leaves a process the files that it has open, and no other.
fn allow_no_more_files(pid: u32) {
    let mut prlimit = std::process::Command::new("prlimit");
    assert!(prlimit.arg(format!("--pid={pid}")).arg("--nofile=3:").status().expect("prlimit").success());
}

#[test]
fn a_reconnect_that_fails_for_want_of_files_is_told_as_that_and_ends_the_run_soon() {
    let Some(broker) = broker() else { return };
    for fetch in PLANES {
        let (topic, proxy) = (broker.topic("in", 1), Proxy::before(&broker.brokers));
        broker.produce(topic.name(), 0, ["first"]);
        let place = reading(&proxy.address, topic.name(), fetch);
        let mut running = place.start("run job.toml");
        wait_until("a batch", || place.path("out.log").exists() || !running.is_running());
        thread::sleep(Duration::from_millis(500));
        proxy.cut(Duration::from_secs(1));
        // A batch may be under way, which opens files of its own.
        thread::sleep(Duration::from_millis(500));
        allow_no_more_files(running.pid());
        let began = Instant::now();
        let ended =
            running.wait().expect(1).says(&["Too many open files", "Raise the limit of open files", "ulimit -n"]);
        assert!(began.elapsed() < Duration::from_secs(25), "{:?}\n{}", began.elapsed(), ended.err);
        place.write("job.toml", place.read("job.toml").replace(&proxy.address, &broker.brokers));
        place.catch_up();
        assert_eq!(place.read("out.log").matches("\nfirst\n").count(), 1);
    }
}

#[test]
fn a_port_that_is_no_kafka_is_warned_of_once() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    thread::spawn(move || {
        for caller in port.incoming() {
            let Ok(mut caller) = caller else { return };
            let _ = caller.read(&mut [0; 16]);
            let _ = caller.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let source = format!("brokers = \"{address}\"\ntopics = [\"numbers\"]");
    let place = Place::with_job(&job(&source, "3s", "topic = \"out\""));
    let ended =
        place.kstream("run job.toml --until-caught-up").expect(6).says(&["waiting for Kafka", "security.protocol"]);
    assert_eq!(ended.err.matches(" WARN ").count(), 1, "{}", ended.err);
}

/// Parts of answers are no answers, however often they come.
#[test]
fn a_broker_whose_answers_never_end_is_away() {
    let Some(broker) = broker() else { return };
    let input = broker.topic("in", 1);
    let lines: Vec<String> = (0..5_000).map(|nth| format!("line {nth}")).collect();
    broker.produce(input.name(), 0, &lines);
    for fetch in PLANES {
        let proxy = Proxy::before(&broker.brokers);
        let job = |limit: &str| {
            let keys = format!("fetch = \"{fetch}\"\nunreachable_limit = \"{limit}\"");
            let steps = "[[steps]]\ncount = true\n[[steps]]\npprint = { to = \"out.log\" }\n";
            of_kafka("torn", "1s", (&proxy.address, input.name()), &keys, steps)
        };
        let place = Place::with_job(&job("6s"));
        proxy.tear(ApiKey::Fetch);
        let began = Instant::now();
        place.kstream("run job.toml --until-caught-up").expect(6).says(&["waiting for Kafka", "`unreachable_limit`"]);
        assert!(began.elapsed() < Duration::from_secs(40), "{fetch}: {:?}", began.elapsed());

        place.write("job.toml", job("10m"));
        let running = place.start("run job.toml --until-caught-up");
        wait_until("the warning", || running.err().contains("waiting for Kafka"));
        let asked = Instant::now();
        running.signal("-TERM");
        running.wait().expect(6).says(&["asked to stop while Kafka was away"]);
        assert!(asked.elapsed() < Duration::from_secs(15), "{fetch}: {:?}", asked.elapsed());

        proxy.pass_on();
        place.kstream("run job.toml --until-caught-up").expect(0);
        assert!(place.read("out.log").contains("\n5000\n"), "{fetch}: {}", place.read("out.log"));
    }
}

/// Processor time that a process has had, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().expect("ticks")).sum()
}

#[test]
#[cfg(target_os = "linux")]
fn waiting_for_a_silent_output_is_no_busy_loop() {
    let Some(broker) = broker() else { return };
    for delivery in ["exactly_once", "at_least_once"] {
        let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
        broker.produce(input.name(), 0, ["first"]);
        let proxy = Proxy::before(&broker.brokers);
        let keys = format!("topic = \"{}\", brokers = \"{}\", delivery = \"{delivery}\"", output.name(), proxy.address);
        let place = Place::with_job(&job(&one_a_batch(broker, input.name()), "10m", &keys));
        let mut running = place.start("run job.toml");
        wait_until("the first delivery", || !broker.read_committed(output.name()).is_empty() || !running.is_running());
        thread::sleep(Duration::from_millis(500));
        proxy.fall_silent();
        broker.produce(input.name(), 0, ["second"]);
        thread::sleep(Duration::from_secs(3));
        let before = ticks(running.pid());
        thread::sleep(Duration::from_secs(4));
        let taken = ticks(running.pid()) - before;
        assert!(taken < 80, "{delivery}: {taken} hundredths of a second of the processor in 4 seconds of waiting");
        running.signal("-KILL");
        running.wait();
    }
}
