//! What is refused, and in which words: what a job or a command asks for and cannot have.

use std::{
    fs::{self, OpenOptions},
    io::ErrorKind,
    net::TcpListener,
    process::Stdio,
};

use super::{
    broker::{Broker, broker, unique_name},
    run::totals,
    support::{Place, START_MS},
};

fn bounded() -> String {
    format!("run job.toml --until-caught-up --manual-clock {START_MS}")
}

/// Values of a topic into `out.log`.
fn values(brokers: &str, topic: &str, source: &str) -> String {
    format!(
        r#"
name = "refused"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "kafka"
brokers = "{brokers}"
topics = ["{topic}"]
{source}
[[steps]]
map = "lambda record: record.value"
[[steps]]
pprint = {{ num = 1000, to = "out.log" }}
"#
    )
}

#[test]
fn properties_and_secrets_are_refused_by_every_command_that_needs_them_and_nobody_is_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let properties = r#"[source.properties]
"security.protcol" = "SSL"
"linger.ms" = "soon"
"sasl.password" = { env = "KSTREAM_NO_SUCH_VARIABLE" }
"ssl.key.password" = { file = "no-such-file" }
"#;
    let place = Place::with_job(&values(&address, "words", properties));
    for command in ["check job.toml", "explain job.toml", &bounded(), "run job.toml", "replay job.toml --verify"] {
        let ended = place.kstream(command).expect(2);
        assert_eq!(ended.err.matches("--> job.toml:").count(), 4, "{command}\n{}", ended.err);
        ended.says(&["did you mean `security.protocol`", "\"soon\"", "KSTREAM_NO_SUCH_VARIABLE", "no such file"]);
    }
    // The ledger is read without secrets.
    place.kstream("batches job.toml").expect(2).says(&["no checkpoint"]);
    let connected = listener.accept();
    assert!(matches!(&connected, Err(error) if error.kind() == ErrorKind::WouldBlock), "{connected:?}");

    for (property, says) in [
        ("security.protcol=SSL", "Did you mean `security.protocol`?"),
        ("socket.timeout.ms=1", "is outside allowed range"),
        ("sasl.password={ env = \"KSTREAM_NO_SUCH_VARIABLE\" }", "KSTREAM_NO_SUCH_VARIABLE"),
    ] {
        for chore in ["topics list", "topics create t", "topics describe t", "consume t", "produce t"] {
            let mut command = place.command(&format!("{chore} --brokers {address}"));
            command.args(["-X", property]);
            place.spawn(command).wait().expect(2).says(&[says]);
        }
    }
    assert!(listener.accept().is_err());
}

#[test]
fn names_that_no_topic_can_have_are_refused_before_anything_is_asked() {
    let place = Place::with_job("");
    let closed = "--brokers 127.0.0.1:1";
    for name in ["a*b", "..", "é", &"x".repeat(250)] {
        for chore in ["create", "describe", "delete"] {
            let ended = place.kstream(&format!("topics {chore} {name} {closed}")).expect(2);
            ended.says(&["cannot be the name of a topic", "letters, digits"]);
        }
    }
}

#[test]
fn what_brokers_refuse_to_create_is_not_blamed_on_the_connection() {
    let Some(broker) = broker() else { return };
    let (topic, place) = (broker.topic("there", 1), Place::with_job(""));
    let twice = unique_name("twice");
    for chore in ["create", "delete"] {
        let ended = place.kstream(&format!("topics {chore} {twice} {twice} --brokers {}", broker.brokers));
        ended.expect(2).says(&[&twice, "named twice"]);
    }
    let ended = place.kstream(&format!("topics delete {twice} --brokers {}", broker.brokers)).expect(6);
    let ended = ended.says(&["does not exist", "topics list"]);
    assert!(!ended.err.contains("Create it"), "{}", ended.err);
    let create = |args: &str, says: &[&str]| {
        let ended = place.kstream(&format!("topics create {args} --brokers {}", broker.brokers)).expect(2).says(says);
        assert!(!ended.err.contains("Check that the brokers run"), "{}", ended.err);
    };
    create(topic.name(), &[topic.name(), "exists already"]);
    let new = unique_name("never");
    create(&format!("{new} --replication-factor 99"), &[&new, "fewer brokers than copies"]);
    create(&format!("{new} --config retentoin.ms=1"), &[&new, "--config"]);
}

#[test]
fn a_start_that_is_not_there_is_a_mistake_of_the_job_and_not_of_the_brokers() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("starts", 2);
    broker.produce(topic.name(), 0, ["a", "b", "c"]);
    let name = topic.name();
    let check = |start: &str, says: &[&str]| {
        let place = Place::with_job(&values(&broker.brokers, name, start));
        let ended = place.kstream(&bounded()).expect(2).says(says);
        assert!(!ended.err.contains("Check that the brokers run"), "{}", ended.err);
    };
    check(&format!("start = {{ {name} = {{ \"0\" = 9 }} }}"), &["start offset 9", "does not exist yet", "0..3"]);
    check(&format!("start = {{ {name} = {{ \"7\" = 0 }} }}"), &["has no such partition"]);
    broker.delete_records(name, 0, 2);
    check(&format!("start = {{ {name} = {{ \"0\" = 1 }} }}"), &["start offset 1", "does not exist any more", "2..3"]);
}

#[test]
fn a_replay_of_what_is_gone_does_not_advise_to_skip_it() {
    let Some(broker) = broker() else { return };
    let again = |lines: usize| {
        let topic = broker.topic("gone", 1);
        let fill = |broker: &Broker| broker.produce(topic.name(), 0, (0..lines).map(|line| line.to_string()));
        broker.produce(topic.name(), 0, ["a", "b", "c"]);
        let place = Place::with_job(&values(&broker.brokers, topic.name(), ""));
        place.catch_up();
        broker.delete_topic(topic.name());
        broker.create_topic(topic.name(), 1, &[]);
        fill(broker);
        for replay in ["replay job.toml --verify", "replay job.toml"] {
            let ended = place.kstream(replay).expect(4).says(&[topic.name(), "cannot be run again"]);
            assert!(!ended.err.contains("on_data_loss"), "{}", ended.err);
        }
    };
    again(1);
    again(9);
}

#[test]
fn lines_without_a_key_reach_every_partition() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("spread", 4);
    let place = Place::with_job("");
    let lines: String = (0..400).map(|line| format!("line {line}\n")).collect();
    place.write("lines.txt", &lines);
    place.kstream(&format!("produce {} lines.txt --brokers {}", topic.name(), broker.brokers)).expect(0);
    let counts: Vec<i64> = (0..4).map(|partition| broker.offsets(topic.name(), partition).1).collect();
    assert_eq!(counts.iter().sum::<i64>(), 400);
    assert!(counts.iter().all(|count| (40..=200).contains(count)), "{counts:?}");
}

#[test]
fn a_checkpoint_that_was_cut_short_says_so() {
    let place = Place::with_job("");
    totals(&place, 20);
    place.kstream("run job.toml").expect(0);
    let whole = fs::read(place.path("checkpoint/checkpoint.db")).unwrap();
    for part in [whole.len() / 2, whole.len() - 1, 4096, 20] {
        let _ = fs::remove_file(place.path("checkpoint/checkpoint.db-wal"));
        let _ = fs::remove_file(place.path("checkpoint/checkpoint.db-shm"));
        place.write("checkpoint/checkpoint.db", whole.get(..part).unwrap());
        for command in ["run job.toml", "batches job.toml", "replay job.toml"] {
            let ended = place.kstream(command).expect(3).says(&["is refused", "damaged"]);
            let raw = ["Conversion error", "Invalid column", "FromSql"];
            assert!(!raw.iter().any(|raw| ended.err.contains(raw)), "{part}: {}", ended.err);
            let pages_are_gone = (4096..=whole.len() / 2).contains(&part);
            assert!(!pages_are_gone || ended.err.contains("the end is missing"), "{part}: {}", ended.err);
            let is_named = ended.err.contains("checkpoint.db is damaged");
            assert!(is_named || part == whole.len() - 1, "{part}: {}", ended.err);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_is_no_success() {
    let place = Place::with_job("");
    totals(&place, 1);
    for args in ["--help", "help run", "--version", "completions bash", "check job.toml", "explain job.toml"] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = place.command(args);
        let ended = command.stdout(Stdio::from(full)).output().unwrap();
        let err = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{args}: {err}");
        assert!(err.contains("cannot write to stdout"), "{args}: {err}");
    }
    // A reader that has gone is no failure.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = place.command("--help").stdout(Stdio::from(writer)).output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn a_job_file_is_found_by_its_neighbours_and_needs_a_command() {
    let place = Place::with_job("");
    totals(&place, 1);
    place.kstream("check jbo.toml").expect(2).says(&["no such file", "Did you mean job.toml?"]);
    place.kstream("job.toml").expect(2).says(&["`job.toml` is no command", "kstream run job.toml"]);
    let ended = place.kstream("produce words no-such-file --brokers 127.0.0.1:1").expect(2);
    ended.says(&["cannot read no-such-file"]);
}

#[test]
fn a_key_that_is_not_there_is_told_as_python_tells_it() {
    let place = Place::with_job("");
    totals(&place, 1);
    let job = place.read("job.toml").replace("lambda word: (word, 1)", "lambda word: ({}['k'], word)");
    place.write("job.toml", job);
    place.kstream("run job.toml").expect(1).says(&["KeyError: 'k'", "job.toml:"]);
}
