//! `to_kafka` on a real Kafka: each batch once for readers of committed records, under kills, fencing, copies and loss.

use std::{collections::BTreeMap, fs, path::Path, thread, time::Duration};

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{
    broker::{Broker, NewRecord, Operation, Resource, broker, own_broker, unique_name},
    run::{sums, truth},
    support::{COUNTED, Place, Random, START_MS, blocks, of_kafka, wait_until},
};

const PARTITIONS: i32 = 2;

/// Word counts of `topic` into a topic and a log. `name` is unique: it names the group on a broker that tests share.
pub fn job(name: &str, brokers: &str, topic: &str, output: &str) -> String {
    let steps = format!("{COUNTED}[[steps]]\nname = \"out\"\nto_kafka = {{ {output} }}");
    of_kafka(name, "100ms", (brokers, topic), "max_records_per_partition = 20", &steps)
}

pub fn fill(broker: &Broker, topic: &str, lines: u64) -> Vec<String> {
    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        let lines: Vec<String> = (0..lines).map(|at| format!("p{partition} w{} w{}", at % 7, at % 23)).collect();
        broker.produce(topic, partition, &lines);
        all.extend(lines);
    }
    all
}

/// Counts by word over all committed messages of a topic, and their number.
pub fn delivered(broker: &Broker, topic: &str) -> (BTreeMap<String, u64>, usize) {
    let records = broker.read_committed(topic);
    let mut sums = BTreeMap::new();
    for record in &records {
        *sums.entry(record.key_text()).or_default() += record.value_text().parse::<u64>().expect("a count");
    }
    (sums, records.len())
}

pub fn bounded() -> String {
    format!("run job.toml --until-caught-up --manual-clock {START_MS}")
}

pub fn shown(log: &str) -> usize {
    blocks(log).iter().map(|block| block.lines.len()).sum()
}

pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn kills_deliver_every_batch_once() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", PARTITIONS), broker.topic("out", 3));
    let lines = fill(broker, input.name(), 1_000);
    let name = unique_name("killed");
    let place = Place::with_job(&job(&name, &broker.brokers, input.name(), &format!("topic = \"{}\"", output.name())));
    let met = place.kill_as_it_writes(&bounded(), 12, 2_000, 30_000);
    assert!(met >= 5, "only {met} kills met a live process");
    place.catch_up();
    let log = place.read("out.log");
    let expected = truth(lines.iter().map(String::as_str));
    assert_eq!(sums(&log), expected);
    let (found, messages) = delivered(broker, output.name());
    assert_eq!(found, expected);
    assert_eq!(messages, shown(&log), "one message for each line of the log");
    assert_eq!(blocks(&log).len(), 50);
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn messages_are_what_the_functions_say() {
    let Some(broker) = broker() else { return };
    let (input, odd, even) = (broker.topic("in", 1), broker.topic("odd", 2), broker.topic("even", 1));
    broker.produce(input.name(), 0, ["1", "2", "3"]);
    let text = format!(
        r#"
name = "{name}"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
[source]
kind = "kafka"
brokers = "{brokers}"
topics = ["{input}"]
[[steps]]
name = "numbers"
map = "lambda record: int(record.value)"
[[steps]]
to_kafka = {{ topic_by = 'lambda n: "{odd}" if n % 2 else "{even}"', commit_topic = "{even}", key = "lambda n: str(n)", value = "lambda n: {{'n': n}}", headers = "lambda n: [('h', 'x' * n), ('none', None)]", partition = "lambda n: 1 if n % 2 else 0" }}
[[steps]]
from = "numbers"
to_kafka = "{even}"
"#,
        name = unique_name("said"),
        brokers = broker.brokers,
        input = input.name(),
        odd = odd.name(),
        even = even.name(),
    );
    let place = Place::with_job(&text);
    place.catch_up();
    let found: Vec<_> = broker
        .read_committed(odd.name())
        .into_iter()
        .map(|r| (r.partition, r.key_text(), r.value_text(), r.headers))
        .collect();
    let header = |n: usize| vec![("h".to_owned(), Some("x".repeat(n).into_bytes())), ("none".to_owned(), None)];
    assert_eq!(
        found,
        vec![
            (1, "1".to_owned(), r#"{"n": 1}"#.to_owned(), header(1)),
            (1, "3".to_owned(), r#"{"n": 3}"#.to_owned(), header(3))
        ]
    );
    let mut texts: Vec<_> = broker.read_committed(even.name()).iter().map(|record| record.value_text()).collect();
    texts.sort();
    assert_eq!(texts, ["1", "2", "3", r#"{"n": 2}"#]);
    // Nothing new: nothing more is delivered, and the job goes on after it.
    place.catch_up();
    broker.produce(input.name(), 0, ["5"]);
    place.catch_up();
    assert_eq!(broker.read_committed(odd.name()).len(), 3);
}

#[test]
fn a_copy_of_the_checkpoint_fences_the_first_process() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", PARTITIONS), broker.topic("out", 1));
    let mut lines = fill(broker, input.name(), 100);
    let text = job(&unique_name("fenced"), &broker.brokers, input.name(), &format!("topic = \"{}\"", output.name()));
    let first = Place::with_job(&text);
    first.catch_up();
    let second = Place::with_job(&text);
    copy_dir(&first.path("checkpoint"), &second.path("checkpoint"));
    second.write("out.log", first.read("out.log"));
    lines.extend(fill(broker, input.name(), 30));
    let before = broker.read_committed(output.name()).len();
    let mut running = first.start("run job.toml --set source.max_records_per_partition=1");
    wait_until("the first process's next batch", || {
        broker.read_committed(output.name()).len() > before || !running.is_running()
    });
    // The second has an older checkpoint than what is delivered: it must not write, and must not fence.
    second.kstream(&bounded()).expect(3).says(&["older copy"]);
    // Between two batches: one in flight is not finished in a copy.
    let committed = || running.err().matches("batch committed").count();
    let so_far = committed();
    wait_until("another batch", || committed() > so_far);
    assert!(running.is_running(), "{}", running.err());
    running.signal("-STOP");
    let third = Place::with_job(&text);
    copy_dir(&first.path("checkpoint"), &third.path("checkpoint"));
    third.write("out.log", first.read("out.log"));
    broker.produce(input.name(), 0, ["late"]);
    lines.push("late".to_owned());
    third.catch_up();
    running.signal("-CONT");
    running.wait().expect(5).says(&["another process", "transactional id 'kstream-fenced", "another `name`"]);
    let (found, _) = delivered(broker, output.name());
    assert_eq!(found, truth(lines.iter().map(String::as_str)));
}

#[test]
fn another_checkpoint_of_the_same_job_needs_append() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", PARTITIONS), broker.topic("out", 1));
    let lines = fill(broker, input.name(), 10);
    let text = job(&unique_name("anew"), &broker.brokers, input.name(), &format!("topic = \"{}\"", output.name()));
    Place::with_job(&text).catch_up();
    let anew = Place::with_job(&text);
    anew.kstream(&bounded()).expect(3).says(&["another checkpoint", "append = true"]);
    assert!(!anew.path("checkpoint").exists(), "nothing is left of a start that was refused");
    assert_eq!(delivered(broker, output.name()).0, truth(lines.iter().map(String::as_str)));
    anew.kstream(&format!("{} --set steps.out.to_kafka.append=true", bounded())).expect(0);
    let twice: BTreeMap<_, _> =
        truth(lines.iter().map(String::as_str)).into_iter().map(|(word, count)| (word, 2 * count)).collect();
    assert_eq!(delivered(broker, output.name()).0, twice);
}

#[test]
fn an_output_that_has_another_name_for_a_while_goes_on() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", PARTITIONS), broker.topic("out", 1));
    let text = job(&unique_name("renamed"), &broker.brokers, input.name(), &format!("topic = \"{}\"", output.name()));
    let place = Place::with_job("");
    let mut lines = Vec::new();
    for name in ["out", "other", "out", "other"] {
        lines.extend(fill(broker, input.name(), 5));
        place.write("job.toml", text.replace("name = \"out\"", &format!("name = \"{name}\"")));
        place.catch_up();
        assert_eq!(delivered(broker, output.name()).0, truth(lines.iter().map(String::as_str)), "{name}");
    }
}

/// What a job of that name delivered is recorded with the topic of the output that it had first.
#[test]
fn another_checkpoint_that_begins_with_another_output_needs_append_too() {
    let Some(broker) = broker() else { return };
    let (input, a, b) = (broker.topic("in", PARTITIONS), broker.topic("a", 1), broker.topic("b", 1));
    fill(broker, input.name(), 10);
    let name = unique_name("outputs");
    let one =
        |topic: &str, more: &str| job(&name, &broker.brokers, input.name(), &format!("topic = \"{topic}\"{more}"));
    Place::with_job(&one(a.name(), "")).catch_up();
    let delivered_before = delivered(broker, a.name());
    let anew = Place::with_job(&one(b.name(), ""));
    anew.kstream(&bounded()).expect(3).says(&["another checkpoint", "append = true"]);
    assert!(!anew.path("checkpoint").exists());
    assert_eq!(broker.read_committed(b.name()).len(), 0);
    // Dead letters have no word of their own where an output says so.
    let letters = broker.topic("letters", 1);
    let text = one(b.name(), ", append = true");
    let text = format!("on_error = \"dead_letter\"\ndead_letter = {{ topic = \"{}\" }}\n{text}", letters.name());
    Place::with_job(&text).catch_up();
    assert_eq!(delivered(broker, b.name()), delivered_before);
    // Each output must say so, whichever comes first; letters alone cannot.
    let second = |append: bool| {
        format!(
            "{}\n[[steps]]\nto_kafka = {{ topic = \"{}\", append = {append} }}\n",
            one(a.name(), &format!(", append = {}", !append)),
            b.name()
        )
    };
    for append in [true, false] {
        let anew = Place::with_job(&second(append));
        anew.kstream(&bounded()).expect(3).says(&["another checkpoint", "append = true on its outputs"]);
    }
    let alone =
        text.replace("to_kafka", "pprint").replace(&format!("topic = \"{}\", append = true", b.name()), "num = 3");
    let refused = Place::with_job(&alone).kstream(&bounded()).expect(3).says(&["another checkpoint", "another name"]);
    assert!(!refused.err.contains("append"), "{}", refused.err);
    assert_eq!(delivered(broker, b.name()), delivered_before);
}

#[test]
fn an_older_checkpoint_is_refused_and_not_touched() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", PARTITIONS), broker.topic("out", 1));
    fill(broker, input.name(), 10);
    let place = Place::with_job(&job(
        &unique_name("older"),
        &broker.brokers,
        input.name(),
        &format!("topic = \"{}\"", output.name()),
    ));
    place.catch_up();
    copy_dir(&place.path("checkpoint"), &place.path("backup"));
    let log = place.read("out.log");
    fill(broker, input.name(), 100);
    place.catch_up();
    let messages = delivered(broker, output.name()).1;
    fs::remove_dir_all(place.path("checkpoint")).unwrap();
    copy_dir(&place.path("backup"), &place.path("checkpoint"));
    place.write("out.log", &log);
    let before = place.files("checkpoint");
    place.kstream(&bounded()).expect(3).says(&["older copy", "Put back the newest checkpoint"]);
    let unchanged = |(name, _): &&(String, Vec<u8>)| !name.contains("lock") && !name.contains("holder");
    let after = place.files("checkpoint");
    assert_eq!(before.iter().filter(unchanged).collect::<Vec<_>>(), after.iter().filter(unchanged).collect::<Vec<_>>());
    assert_eq!(delivered(broker, output.name()).1, messages);
}

#[test]
fn a_forgotten_delivery_is_refused_until_the_user_says_what_it_was() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", PARTITIONS), broker.topic("out", 1));
    let mut lines = fill(broker, input.name(), 10);
    let name = unique_name("forgotten");
    let place = Place::with_job(&job(&name, &broker.brokers, input.name(), &format!("topic = \"{}\"", output.name())));
    place.catch_up();
    broker.delete_groups(&format!("kstream-{name}-"));
    lines.extend(fill(broker, input.name(), 10));
    place.kstream(&bounded()).expect(3).says(&["has forgotten", "--assume-unpublished"]);
    place.kstream(&format!("{} --assume-unpublished", bounded())).expect(0);
    assert_eq!(delivered(broker, output.name()).0, truth(lines.iter().map(String::as_str)));
    place.catch_up();

    // Also where there is nothing more to deliver.
    for assumed in ["--assume-published", "--assume-unpublished"] {
        broker.delete_groups(&format!("kstream-{name}-"));
        place.kstream(&bounded()).expect(3).says(&["has forgotten"]);
        place.kstream(&format!("{} {assumed}", bounded())).expect(0);
        place.catch_up();
    }
    lines.extend(fill(broker, input.name(), 10));
    place.catch_up();
    assert_eq!(delivered(broker, output.name()).0, truth(lines.iter().map(String::as_str)));
}

#[test]
fn what_cannot_be_written_fails_the_batch_and_leaves_nothing() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
    broker.produce(input.name(), 0, ["small", &"x".repeat(900_000)]);
    let text = |output: &str| {
        format!(
            r#"
name = "{}"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
[source]
kind = "kafka"
brokers = "{}"
topics = ["{}"]
[[steps]]
map = "lambda record: record.value"
[[steps]]
{output}
"#,
            unique_name("failing"),
            broker.brokers,
            input.name()
        )
    };
    let check = |output: &str, says: &[&str]| {
        let place = Place::with_job(&text(output));
        place.kstream(&bounded()).expect(1).says(says);
    };
    let topic = output.name();
    check(&format!("to_kafka = {{ topic = \"{topic}\", value = \"lambda v: v + v\" }}"), &["message.max.bytes", topic]);
    check(&format!("to_kafka = {{ topic = \"{topic}\", partition = \"lambda v: 7\" }}"), &["no partition 7"]);
    check(&format!("to_kafka = {{ topic = \"{topic}\", headers = \"lambda v: 'h'\" }}"), &["the headers of a message"]);
    let compacted = broker.topic_with("compacted", 1, &[("cleanup.policy", "compact")]);
    check(&format!("to_kafka = \"{}\"", compacted.name()), &[compacted.name(), "takes only records with a key"]);
    check("to_kafka = \"no-such-topic-anywhere\"", &["does not exist", "kstream topics create"]);
    let short = format!("to_kafka = {{ topic = \"{topic}\", properties = {{ \"transaction.timeout.ms\" = 1000 }} }}");
    let place = Place::with_job(&text(&short));
    let run = format!("{} --set batch_interval=2s", bounded());
    place.kstream(&run).expect(2).says(&["shorter than the batch interval"]);
    let place = Place::with_job(&text(&format!("to_kafka = \"{topic}\"")));
    let run = format!("{} --set batch_interval=20m", bounded());
    place.kstream(&run).expect(2).says(&["15 min is shorter than the batch interval", "transaction.max.timeout.ms"]);
    let spoilt = format!(
        r#"to_kafka = {{ commit_topic = "{topic}", topic_by = "lambda v: '{topic}' if len(v) < 9 else 'no topic'", value = "lambda v: [v.encode()] if v == 'bad' else v" }}"#
    );
    check(&spoilt, &["the topic of a message cannot be 'no topic'", "the name of a topic"]);
    assert_eq!(broker.read_committed(topic).len(), 0);

    broker.produce(input.name(), 0, ["bad"]);
    let place = Place::with_job(&text(&format!("on_error = \"skip\"\n{spoilt}")));
    place.kstream(&bounded()).expect(0).says(&["poison"]);
    assert_eq!(broker.read_committed(topic).len(), 1);
}

#[test]
fn at_least_once_delivers_without_transactions() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", PARTITIONS), broker.topic("out", 2));
    let lines = fill(broker, input.name(), 50);
    let place = Place::with_job(&job(
        &unique_name("plain"),
        &broker.brokers,
        input.name(),
        &format!("topic = \"{}\", delivery = \"at_least_once\"", output.name()),
    ));
    place.catch_up();
    assert_eq!(delivered(broker, output.name()).0, truth(lines.iter().map(String::as_str)));
    let offsets: i64 = (0..2).map(|partition| broker.offsets(output.name(), partition).1).sum();
    assert_eq!(offsets as usize, delivered(broker, output.name()).1, "no markers");
}

#[test]
fn a_broker_that_is_killed_and_comes_back_costs_no_batch() {
    let Some(mut own) = own_broker() else { return };
    let (input, output) = (unique_name("in"), unique_name("out"));
    own.create_topic(&input, PARTITIONS, &[]);
    own.create_topic(&output, 1, &[]);
    let mut lines = fill(&own, &input, 200);
    let place = Place::with_job(&job("away", &own.brokers, &input, &format!("topic = \"{output}\"")));
    let mut running = place.start("run job.toml");
    wait_until("the first batches", || place.read("out.log").contains("p0"));
    own.kill();
    thread::sleep(Duration::from_secs(3));
    assert!(running.is_running(), "{}", running.err());
    own.start_again();
    own.produce_records(&input, 0, [NewRecord::value("back again")]);
    lines.push("back again".to_owned());
    wait_until("records after the return", || place.read("out.log").contains("'again'"));
    running.signal("-TERM");
    running.wait().expect(0);
    let expected = truth(lines.iter().map(String::as_str));
    assert_eq!(sums(&place.read("out.log")), expected);
    assert_eq!(delivered(&own, &output).0, expected);
}

#[test]
fn outputs_to_two_clusters_are_both_once() {
    let Some(broker) = broker() else { return };
    let Some(own) = own_broker() else { return };
    let (input, here, there) = (broker.topic("in", PARTITIONS), broker.topic("here", 1), unique_name("there"));
    own.create_topic(&there, 1, &[]);
    let lines = fill(broker, input.name(), 400);
    let text = job(&unique_name("two"), &broker.brokers, input.name(), &format!("topic = \"{}\"", here.name()))
        + &format!("[[steps]]\nto_kafka = {{ topic = \"{there}\", brokers = \"{}\" }}\n", own.brokers);
    let place = Place::with_job(&text);
    let mut random = Random::seeded();
    for _ in 0..6 {
        let running = place.start(&bounded());
        thread::sleep(Duration::from_micros(200_000 + random.below(600_000)));
        running.kill();
    }
    place.catch_up();
    let expected = truth(lines.iter().map(String::as_str));
    assert_eq!(sums(&place.read("out.log")), expected);
    assert_eq!(delivered(broker, here.name()).0, expected);
    assert_eq!(delivered(&own, &there).0, expected);
    // The output's cluster is part of what the checkpoint remembers.
    let moved = text.replace(&own.brokers, "OTHER").replace("OTHER", &broker.brokers);
    place.write("job.toml", moved);
    place.kstream(&bounded()).expect(3).says(&["another Kafka cluster"]);
}

#[test]
fn an_output_that_may_not_write_ends_the_job_and_shows_no_secret() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", PARTITIONS), broker.topic("out", 1));
    fill(broker, input.name(), 5);
    for (user, password) in [(&broker.user, "canary-wrong"), (&broker.stranger, &*broker.stranger_password)] {
        let spec = format!(
            r#"topic = "{}", brokers = "{}", properties = {{ "security.protocol" = "SASL_SSL", "ssl.ca.location" = "{}", "sasl.mechanism" = "PLAIN", "sasl.username" = "{user}", "sasl.password" = {{ env = "OUTPUT_PASSWORD" }} }}"#,
            output.name(),
            broker.sasl_ssl_brokers,
            broker.ca.display(),
        );
        let place = Place::with_job(&job(&unique_name("denied"), &broker.brokers, input.name(), &spec));
        let mut command = place.command(&bounded());
        command.env("OUTPUT_PASSWORD", password);
        let ended = place.spawn(command).wait();
        // A stranger sees no topic at all: for him it does not exist.
        let code = if user == &broker.stranger { [Some(1), Some(6)] } else { [Some(6), Some(6)] };
        assert!(code.contains(&ended.code), "{user}: {:?}\n{}", ended.code, ended.err);
        assert!(!ended.err.contains(password) && !ended.out.contains(password), "{}", ended.err);
        assert_eq!(broker.read_committed(output.name()).len(), 0);
    }
}

#[test]
fn each_right_that_an_output_lacks_is_named_with_what_it_is_lacked_on() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", PARTITIONS), broker.topic("out", 1));
    fill(broker, input.name(), 5);
    let spec = format!(
        r#"topic = "{}", brokers = "{}", properties = {{ "security.protocol" = "SASL_SSL", "ssl.ca.location" = "{}", "sasl.mechanism" = "PLAIN", "sasl.username" = "{}", "sasl.password" = {{ env = "OUTPUT_PASSWORD" }} }}"#,
        output.name(),
        broker.sasl_ssl_brokers,
        broker.ca.display(),
        broker.stranger,
    );
    let name = unique_name("rights");
    let place = Place::with_job(&job(&name, &broker.brokers, input.name(), &spec));
    let run = || {
        let mut command = place.command(&bounded());
        command.env("OUTPUT_PASSWORD", &broker.stranger_password);
        place.spawn(command).wait()
    };
    let grant = |resource, name: &str, operations: &[Operation]| {
        operations.iter().for_each(|operation| broker.grant(&broker.stranger, resource, name, *operation));
        // A rule is in force a moment after it is made.
        thread::sleep(Duration::from_millis(500));
    };
    let id = format!("kstream-{name}");
    run().expect(6).says(&["output out", output.name(), "Grant this user WRITE and DESCRIBE on the output's topics"]);
    grant(Resource::Topic, output.name(), &[Operation::Describe]);
    run().expect(6).says(&["output out", "Grant this user READ on group", &id]);
    grant(Resource::Group, &id, &[Operation::Read]);
    run().expect(6).says(&["output out", "Grant this user WRITE and DESCRIBE on transactional id", &id]);
    grant(Resource::TransactionalId, &id, &[Operation::Write, Operation::Describe]);
    run().expect(6).says(&[
        "output out",
        "Grant this user READ on topic",
        "which the batch's identity is recorded for",
        "commit_topic",
    ]);
    assert_eq!(broker.read_committed(output.name()).len(), 0);
    grant(Resource::Topic, output.name(), &[Operation::Read, Operation::Write]);
    run().expect(0);
    assert!(!broker.read_committed(output.name()).is_empty());
}

#[test]
fn an_offset_of_others_in_the_group_of_a_job_is_told_as_that() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", PARTITIONS), broker.topic("out", 1));
    fill(broker, input.name(), 5);
    let name = unique_name("taken");
    let place = Place::with_job(&job(&name, &broker.brokers, input.name(), &format!("topic = \"{}\"", output.name())));
    place.catch_up();
    let consumer: BaseConsumer = broker.client().create().unwrap();
    let cluster = consumer.client().fetch_cluster_id(Duration::from_secs(30)).expect("an id");
    let group = format!("kstream-{name}-{cluster}");
    let before = broker.read_committed(output.name()).len();
    broker.set_group_offsets(&group, output.name(), &[7]);
    fill(broker, input.name(), 5);
    let ended = place.kstream(&bounded()).expect(3);
    ended.says(&[
        &format!("group '{group}'"),
        "kstream did not write",
        "Let nothing else commit offsets in that group",
    ]);
    assert_eq!(broker.read_committed(output.name()).len(), before);
}
