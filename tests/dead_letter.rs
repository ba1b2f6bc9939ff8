//! Dead letters: what a step cannot take is kept with its record, exactly once with the batch, and can be written back.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use super::{
    broker::{NewRecord, broker, unique_name},
    support::{Place, Random, START_MS},
};

fn bounded() -> String {
    format!("run job.toml --until-caught-up --manual-clock {START_MS}")
}

fn job(name: &str, source: &str, on_error: &str) -> String {
    format!(
        r#"
name = "{name}"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
{on_error}
[source]
kind = "kafka"
{source}
[[steps]]
name = "number"
map = "lambda record: int(record.value)"
[[steps]]
name = "share"
map = "lambda n: 100 // n"
[[steps]]
pprint = {{ num = 100_000, to = "out.log" }}
"#
    )
}

fn letters(place: &Place, file: &str) -> Vec<Value> {
    place.read(file).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn letters_go_through_the_producer_of_an_output_whatever_its_properties() {
    let Some(broker) = broker() else { return };
    let (input, output, dead) = (broker.topic("in", 1), broker.topic("out", 1), broker.topic("dead", 1));
    broker.produce(input.name(), 0, ["5", "x", "7"]);
    let source = format!("brokers = \"{}\"\ntopics = [\"{}\"]", broker.brokers, input.name());
    let on_error = format!("on_error = \"dead_letter\"\ndead_letter = {{ topic = \"{}\" }}", dead.name());
    let to_kafka = format!(
        "[[steps]]\nto_kafka = {{ topic = \"{}\", properties = {{ \"compression.type\" = \"lz4\" }} }}\n",
        output.name()
    );
    let place = Place::with_job(&(job(&unique_name("shared"), &source, &on_error) + &to_kafka));
    place.catch_up();
    let values = |topic: &str| -> Vec<_> { broker.read_committed(topic).into_iter().map(|r| r.value).collect() };
    assert_eq!(values(output.name()), [Some(b"20".to_vec()), Some(b"14".to_vec())]);
    assert_eq!(values(dead.name()), [Some(b"x".to_vec())]);
}

#[test]
fn letters_hold_the_record_and_can_be_written_back() {
    let Some(broker) = broker() else { return };
    let (input, back) = (broker.topic("in", 1), broker.topic("back", 1));
    let poison = [
        NewRecord::value("zero").key("k").header("h", "v").header("h", b"\xfe"),
        NewRecord::value(b"\xff\x00").timestamp(1_600_000_000_000),
        NewRecord::value("0").key(b"\xff"),
    ];
    broker.produce(input.name(), 0, ["5"]);
    broker.produce_records(input.name(), 0, poison.clone());
    broker.produce(input.name(), 0, ["7"]);
    let source = format!("brokers = \"{}\"\ntopics = [\"{}\"]", broker.brokers, input.name());
    let on_error = "on_error = \"dead_letter\"\ndead_letter = { file = \"dead.jsonl\" }";
    let place = Place::with_job(&job("letters", &source, on_error));
    place.catch_up();
    assert!(place.read("out.log").contains("20\n14\n"), "{}", place.read("out.log"));
    let found = letters(&place, "dead.jsonl");
    let told: Vec<_> = found.iter().map(|l| (l["step"].clone(), l["record"]["offset"].clone())).collect();
    assert_eq!(told, [(json!("number"), json!(1)), (json!("number"), json!(2)), (json!("share"), json!(3))]);
    assert_eq!(found[0]["reason"], "invalid literal for int() with base 10: 'zero'");
    assert_eq!(found[0]["record"]["headers"], json!([["h", "v"], ["h", { "base64": "/g==" }]]));
    assert_eq!(found[1]["record"]["value"], json!({ "base64": "/wA=" }));
    assert_eq!(found[1]["record"]["key"], Value::Null);
    assert_eq!(found[1]["record"]["timestamp"], 1_600_000_000_000_i64);
    assert_eq!(found[2]["element"], "0");
    assert!(found[2]["at"].as_str().is_some_and(|at| at.contains("100 // n")), "{}", found[2]);
    assert_eq!(place.ledger()[0]["poison"]["number"], 2, "{}", place.ledger()[0]);
    place.kstream("replay job.toml --verify").expect(0);
    place.kstream("replay job.toml").expect(0).says(&["dead letters"]);

    place.kstream(&format!("produce {} --brokers {} --dead-letters dead.jsonl", back.name(), broker.brokers)).expect(0);
    let parts = |topic: &str| -> Vec<_> {
        broker.read_committed(topic).into_iter().map(|r| (r.key, r.value, r.headers)).collect()
    };
    assert_eq!(parts(back.name()), parts(input.name())[1..4]);
    place.write("wrong.jsonl", place.read("dead.jsonl") + "{}\n");
    place
        .kstream(&format!("produce {} --brokers {} --dead-letters wrong.jsonl", back.name(), broker.brokers))
        .expect(2)
        .says(&["line 4 of wrong.jsonl"]);
}

#[test]
fn the_step_decides_before_the_source_and_the_source_before_the_job() {
    let Some(broker) = broker() else { return };
    let input = broker.topic("in", 1);
    broker.produce_records(
        input.name(),
        0,
        [NewRecord::value(b"\xff"), NewRecord::value("zero"), NewRecord::value("0")],
    );
    let source = format!(
        "brokers = \"{}\"\ntopics = [\"{}\"]\non_error = \"dead_letter\"\ndead_letter = {{ file = \"undecoded.jsonl\" }}",
        broker.brokers,
        input.name()
    );
    let text = job("precedence", &source, "on_error = \"skip\"").replace(
        "name = \"share\"",
        "name = \"share\"\non_error = \"dead_letter\"\ndead_letter = { file = \"shares.jsonl\" }",
    );
    let place = Place::with_job(&text);
    place.catch_up();
    let offsets =
        |file: &str| -> Vec<_> { letters(&place, file).iter().map(|l| l["record"]["offset"].clone()).collect() };
    assert_eq!(offsets("undecoded.jsonl"), [json!(0)]);
    assert_eq!(offsets("shares.jsonl"), [json!(2)]);
    assert_eq!(place.ledger()[0]["poison"], json!({ "number": 2, "share": 1 }));
}

/// A feed in which every third line is poison.
fn embedded(place: &Place) -> String {
    let line = |at: usize| match at % 3 {
        0 => format!("{}\n", at % 9),
        1 => format!("{at}\n"),
        _ => format!("no number {at}\n"),
    };
    place.write("feed.txt", (0..600).map(line).collect::<String>());
    "brokers = \"embedded\"\ntopics = [\"numbers\"]\nmax_records_per_partition = 5\n[source.embedded]\nlines = \"feed.txt\"\nrate = \
     1_000_000_000\npartitions = 2"
        .to_owned()
}

#[test]
fn kills_threads_and_chunks_leave_the_same_letters() {
    let on_error = "on_error = \"dead_letter\"\ndead_letter = { file = \"dead.jsonl\" }";
    let calm = Place::with_job("");
    calm.write("job.toml", job("numbers", &embedded(&calm), on_error));
    calm.catch_up();
    let expected = calm.read("dead.jsonl");
    assert_eq!(expected.lines().count(), 200 + 67, "a third is no number, a ninth is 0");
    for (threads, chunk) in [("1", "1"), ("2", "3"), ("8", "4096")] {
        let other = Place::with_job(&calm.read("job.toml"));
        embedded(&other);
        let mut command = other.command(&format!("{} --threads {threads}", bounded()));
        command.env("KSTREAM_CHUNK_RECORDS", chunk);
        other.spawn(command).wait().expect(0);
        assert!(other.read("dead.jsonl") == expected, "{threads} threads, chunks of {chunk}");
    }
    let rough = Place::with_job(&calm.read("job.toml"));
    embedded(&rough);
    let mut random = Random::seeded();
    let mut met = 0;
    for _ in 0..20 {
        let running = rough.start(&bounded());
        thread::sleep(Duration::from_micros(20_000 + random.below(200_000)));
        met += usize::from(running.kill());
    }
    assert!(met > 4, "only {met} kills met a live process");
    rough.catch_up();
    assert!(rough.read("dead.jsonl") == expected);
    assert!(rough.read("out.log") == calm.read("out.log"));
}

#[test]
fn letters_to_a_topic_are_delivered_once_with_the_batch() {
    let Some(broker) = broker() else { return };
    let (input, dead, out) = (broker.topic("in", 2), broker.topic("dead", 1), broker.topic("out", 1));
    for partition in 0..2 {
        broker.produce(
            input.name(),
            partition,
            (0..300).map(|at| if at % 3 == 0 { "none".into() } else { at.to_string() }),
        );
    }
    let source =
        format!("brokers = \"{}\"\ntopics = [\"{}\"]\nmax_records_per_partition = 10", broker.brokers, input.name());
    let on_error = format!("on_error = \"dead_letter\"\ndead_letter = {{ topic = \"{}\" }}", dead.name());
    let text = job(&unique_name("dead"), &source, &on_error) + &format!("[[steps]]\nto_kafka = \"{}\"\n", out.name());
    let place = Place::with_job(&text);
    let mut random = Random::seeded();
    let mut met = 0;
    for _ in 0..12 {
        let running = place.start(&bounded());
        thread::sleep(Duration::from_micros(100_000 + random.below(400_000)));
        met += usize::from(running.kill());
    }
    assert!(met > 3, "only {met} kills met a live process");
    place.catch_up();
    let found = broker.read_committed(dead.name());
    assert_eq!(found.len(), 200);
    assert_eq!(broker.read_committed(out.name()).len(), 400);
    let header = |name: &str| {
        let value = found[0].headers.iter().find(|(other, _)| other == name).and_then(|(_, value)| value.clone());
        String::from_utf8(value.unwrap_or_default()).expect("text")
    };
    assert_eq!(found[0].value_text(), "none");
    assert_eq!((header("kstream.topic"), header("kstream.step")), (input.name().to_owned(), "number".to_owned()));
    assert!(header("kstream.reason").contains("invalid literal"));
    place.kstream("replay job.toml --verify").expect(0);
}

/// Lines `KEY NUMBER` of one partition as pairs, through a step.
fn pairs(step: &str, lines: &str) -> Place {
    let place = Place::with_job(&format!(
        r#"
name = "pairs"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
on_error = "dead_letter"
dead_letter = {{ file = "dead.jsonl" }}
[source]
kind = "kafka"
brokers = "embedded"
topics = ["pairs"]
[source.embedded]
lines = "feed.txt"
rate = 1_000_000_000
partitions = 1
[[steps]]
map = "lambda record: (record.value.split()[0], int(record.value.split()[1]))"
[[steps]]
{step}
[[steps]]
pprint = {{ num = 100, to = "out.log" }}
"#
    ));
    place.write("feed.txt", lines);
    place
}

#[test]
fn combiners_and_sort_keys_leave_out_single_elements_with_their_records() {
    let lines = "a 0\na 5\nb 2\na 0\nc 0\nb 0\n";
    let combine = r#"combine_by_key = { create = "lambda n: 10 // n", merge_value = "lambda a, n: a + n", merge_combiners = "lambda a, b: a + b" }"#;
    let sort = "sort_by = \"lambda pair: (10 // pair[1], pair[0])\"";
    // A record that is run alone is the first of its key; two of these were not.
    for (step, offsets, shown) in
        [(combine, vec![0, 4], "('a', 2)\n('b', 5)\n"), (sort, vec![0, 3, 4, 5], "('a', 5)\n('b', 2)\n")]
    {
        for chunk in ["1", "4096"] {
            let place = pairs(step, lines);
            let mut command = place.command(&bounded());
            command.env("KSTREAM_CHUNK_RECORDS", chunk);
            place.spawn(command).wait().expect(0);
            let found = letters(&place, "dead.jsonl");
            let told: Vec<_> = found.iter().map(|l| l["record"]["offset"].as_i64().unwrap()).collect();
            assert_eq!(told, offsets, "{step} in chunks of {chunk}");
            assert!(found.iter().all(|letter| letter["reason"] == "integer division or modulo by zero"), "{found:?}");
            assert!(place.read("out.log").contains(shown), "{step}: {}", place.read("out.log"));
        }
        let place = pairs(step, "a 5\na 0\nb 0\n");
        place.write(
            "job.toml",
            place.read("job.toml").replace("\"dead_letter\"", "\"fail\"").replace("dead_letter =", "# "),
        );
        let offset = if step == combine { "offset 2" } else { "offset 1" };
        place.kstream(&bounded()).expect(1).says(&["10 //", "zero", offset]);
    }
}

#[test]
fn a_topic_that_the_job_reads_takes_no_letters_whatever_its_brokers_are_called() {
    let Some(broker) = broker() else { return };
    let input = broker.topic("in", 1);
    broker.produce(input.name(), 0, ["poison"]);
    let port = broker.brokers.rsplit_once(':').map(|(_, port)| port).expect("a port");
    let other_words = format!("localhost:{port},127.0.0.1:{port}");
    let check = |reads: &str, letters_on: &str, says: &[&str]| {
        let source = format!("brokers = \"{}\"\n{reads}", broker.brokers);
        let letters = format!("dead_letter = {{ topic = \"{}\"{letters_on} }}", input.name());
        let name = unique_name("loop");
        let place = Place::with_job(&job(&name, &source, &format!("on_error = \"dead_letter\"\n{letters}")));
        place.kstream(&bounded()).expect(2).says(says).says(&["a topic of their own"]);
        assert_eq!(broker.read_committed(input.name()).len(), 1, "nothing was written");
        assert!(!place.path("checkpoint/checkpoint.db").exists(), "nothing was begun");
    };
    let (named, pattern) =
        (format!("topics = [\"{}\"]", input.name()), format!("topic_pattern = \"{}.*\"", input.name()));
    let on_others = format!(", brokers = \"{other_words}\"");
    for reads in [&named, &pattern] {
        check(reads, "", &["job.toml:", "would read them again, without end"]);
        check(reads, &on_others, &["source source reads it", "are brokers of one cluster"]);
    }
}

#[cfg(feature = "crash-points")]
#[test]
fn letters_in_flight_go_to_where_the_brokers_are_now() {
    let Some(broker) = broker() else { return };
    for (beside, point) in [(true, "kafka: committed#2"), (false, "kafka: committed#2"), (false, "kafka: written#2")] {
        let (input, dead, out) = (broker.topic("in", 1), broker.topic("dead", 1), broker.topic("out", 1));
        broker.produce(input.name(), 0, ["5", "x", "7"]);
        let name = unique_name("addresses");
        let text = |brokers: &str| {
            let source = format!("brokers = \"{brokers}\"\ntopics = [\"{}\"]", input.name());
            let on_error = format!(
                "on_error = \"dead_letter\"\ndead_letter = {{ topic = \"{}\", brokers = \"{brokers}\" }}",
                dead.name()
            );
            let output = format!("[[steps]]\nto_kafka = {{ topic = \"{}\", brokers = \"{brokers}\" }}\n", out.name());
            job(&name, &source, &on_error) + if beside { &output } else { "" }
        };
        let place = Place::with_job(&text(&broker.brokers.replace("127.0.0.1", "localhost")));
        let mut killed = place.command(&bounded());
        killed.env("KSTREAM_CRASH_AT", point);
        assert_eq!(place.spawn(killed).wait().code, None, "killed");
        assert_eq!(place.ledger().first().map(|row| row["status"] == "planned"), Some(true), "{point}");
        place.write("job.toml", text(&broker.brokers));
        place.catch_up();
        broker.produce(input.name(), 0, ["y"]);
        place.catch_up();
        let values =
            |topic: &str| -> Vec<_> { broker.read_committed(topic).iter().map(|record| record.value_text()).collect() };
        assert_eq!(values(dead.name()), ["x", "y"], "{beside} {point}");
        assert_eq!(values(out.name()).len(), if beside { 2 } else { 0 });
        place.kstream("replay job.toml --verify").expect(0).says(&["batches=2"]);
    }
}
