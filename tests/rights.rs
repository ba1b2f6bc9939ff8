//! Rights that a job's user loses while the job runs: told within seconds, by name, and no batch is lost or doubled.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    broker::{Broker, Operation, Resource, Topic, broker, unique_name},
    support::{Ended, Place, START_MS, of_kafka, wait_until},
};

/// Far more than it takes, and far less than `unreachable_limit`.
const WITHIN: Duration = Duration::from_secs(15);

/// The topics of one job: what it reads, and where its outputs and its dead letters go.
struct Topics {
    input: Topic,
    out: Topic,
    other: Topic,
    home: Topic,
}

/// What is taken back, from a job with these steps; and what is said of it.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// Lines of the job after its source; `OUT`, `OTHER` and `HOME` stand for topics.
    steps: &'static str,
    /// One record a batch.
    records: [&'static str; 2],
    lost: Lost,
    says: &'static [&'static str],
    /// What must not be named.
    spares: &'static [&'static str],
    /// Whether a batch may be there twice after it.
    repeats: bool,
}

#[derive(Clone, Copy)]
enum Lost {
    Topic(&'static str, Operation),
    /// All rights to a topic.
    Sight(&'static str),
    Group,
    TransactionalId,
}

const ONE: &str = "[[steps]]\nmap = \"lambda record: record.value\"\n[[steps]]\nname = \"out\"\n";

const CASES: [Case; 8] = [
    Case {
        name: "topic",
        steps: "to_kafka = \"OUT\"",
        records: ["first", "second"],
        lost: Lost::Topic("OUT", Operation::Write),
        says: &["output out", "topic 'OUT'", "Grant this user WRITE and DESCRIBE on topic 'OUT'"],
        spares: &[],
        repeats: false,
    },
    Case {
        name: "sight of the topic",
        steps: "to_kafka = \"OUT\"",
        records: ["first", "second"],
        lost: Lost::Sight("OUT"),
        says: &["output out", "topic 'OUT'", "Grant this user WRITE and DESCRIBE on topic 'OUT'"],
        spares: &[],
        repeats: false,
    },
    Case {
        name: "topic, at least once",
        steps: "to_kafka = { topic = \"OUT\", delivery = \"at_least_once\" }",
        records: ["first", "second"],
        lost: Lost::Topic("OUT", Operation::Write),
        says: &["output out", "topic 'OUT'", "Grant this user WRITE and DESCRIBE on topic 'OUT'"],
        spares: &[],
        repeats: true,
    },
    Case {
        name: "one topic of two",
        steps: "to_kafka = { commit_topic = \"HOME\", topic_by = \"lambda v: 'OTHER'\" }\n[[steps]]\nfrom = \"all\"\n\
                to_kafka = { topic = \"OUT\", commit_topic = \"HOME\" }",
        records: ["first", "second"],
        lost: Lost::Topic("OTHER", Operation::Write),
        says: &["topic 'OTHER'", "Grant this user WRITE and DESCRIBE on topic 'OTHER'"],
        spares: &["topic 'OUT'", "topic 'HOME'"],
        repeats: false,
    },
    Case {
        name: "the topic of the batch's identity",
        steps: "to_kafka = { topic = \"OUT\", commit_topic = \"HOME\" }",
        records: ["first", "second"],
        lost: Lost::Topic("HOME", Operation::Read),
        says: &["output out", "batch's identity", "Grant this user READ on topic 'HOME'", "commit_topic"],
        spares: &["topic 'OUT'"],
        repeats: false,
    },
    Case {
        name: "group",
        steps: "to_kafka = \"OUT\"",
        records: ["first", "second"],
        lost: Lost::Group,
        says: &["output out", "Grant this user READ on group 'kstream-"],
        spares: &[],
        repeats: false,
    },
    Case {
        name: "transactional id",
        steps: "to_kafka = \"OUT\"",
        records: ["first", "second"],
        lost: Lost::TransactionalId,
        says: &["output out", "Grant this user WRITE and DESCRIBE on transactional id 'kstream-"],
        spares: &["another process"],
        repeats: false,
    },
    Case {
        name: "dead letters",
        steps: "on_error = \"dead_letter\"\ndead_letter = { topic = \"OUT\" }\nmap = \"lambda v: int(v)\"\n[[steps]]\n\
                pprint = { to = \"out.log\" }",
        records: ["first", "second"],
        lost: Lost::Topic("OUT", Operation::Write),
        says: &["topic 'OUT'", "Grant this user WRITE and DESCRIBE on topic 'OUT'"],
        spares: &[],
        repeats: false,
    },
];

impl Topics {
    fn new(broker: &Broker) -> Topics {
        let topic = |base| broker.topic(base, 1);
        Topics { input: topic("in"), out: topic("out"), other: topic("other"), home: topic("home") }
    }

    /// Names for the words that stand for them.
    fn named(&self, text: &str) -> String {
        let text = text.replace("OUT", self.out.name());
        text.replace("OTHER", self.other.name()).replace("HOME", self.home.name())
    }
}

fn job(broker: &Broker, name: &str, topics: &Topics, steps: &str) -> String {
    let first = ONE.replacen("map", "name = \"all\"\nmap", 1);
    let steps = topics.named(&(first + steps));
    let keys = format!(
        r#"max_records_per_partition = 1
unreachable_limit = "10m"
properties = {{ "security.protocol" = "SASL_SSL", "ssl.ca.location" = "{ca}", "sasl.mechanism" = "PLAIN", "sasl.username" = "{user}", "sasl.password" = {{ env = "OUTPUT_PASSWORD" }} }}"#,
        ca = broker.ca.display(),
        user = broker.stranger,
    );
    of_kafka(name, "200ms", (&broker.sasl_ssl_brokers, topics.input.name()), &keys, &steps)
}

fn play(broker: &Broker, case: Case) {
    let (name, topics) = (unique_name("lost"), Topics::new(broker));
    let place = Place::with_job(&job(broker, &name, &topics, case.steps));
    let id = format!("kstream-{name}-");
    let mut rights = vec![
        (Resource::Topic, topics.input.name(), Operation::Read),
        (Resource::Group, &*id, Operation::Read),
        (Resource::TransactionalId, &id, Operation::Write),
        (Resource::TransactionalId, &id, Operation::Describe),
    ];
    for topic in [&topics.out, &topics.other, &topics.home] {
        rights.extend([(Resource::Topic, topic.name(), Operation::Read)]);
        rights.extend([(Resource::Topic, topic.name(), Operation::Write)]);
    }
    broker.grant_all(&broker.stranger, &rights);
    let run = |args: &str| {
        let mut command = place.command(args);
        command.env("OUTPUT_PASSWORD", &broker.stranger_password);
        place.spawn(command)
    };
    let bounded = format!("run job.toml --until-caught-up --manual-clock {START_MS}");

    broker.produce(topics.input.name(), 0, [case.records[0]]);
    let mut running = run("run job.toml");
    wait_until("the first delivery", || !broker.read_committed(topics.out.name()).is_empty() || !running.is_running());
    thread::sleep(Duration::from_millis(500));
    let named;
    let lost: Vec<(Resource, &str, Operation)> = match case.lost {
        Lost::Topic(topic, operation) => {
            named = topics.named(topic);
            vec![(Resource::Topic, &named, operation)]
        }
        Lost::Sight(topic) => {
            named = topics.named(topic);
            [Operation::Read, Operation::Write].map(|operation| (Resource::Topic, &*named, operation)).to_vec()
        }
        Lost::Group => vec![(Resource::Group, &id, Operation::Read)],
        Lost::TransactionalId => vec![
            (Resource::TransactionalId, &id, Operation::Write),
            (Resource::TransactionalId, &id, Operation::Describe),
        ],
    };
    for (resource, name, operation) in &lost {
        broker.revoke(&broker.stranger, *resource, name, *operation);
    }
    broker.produce(topics.input.name(), 0, [case.records[1]]);
    let began = Instant::now();
    let check = |ended: Ended, when: &str| {
        let took = began.elapsed();
        eprintln!("{}, {when}: {took:?}\n{}", case.name, ended.err);
        let ended = ended.expect(6);
        for words in case.says.iter().chain(&["uthorization failed"]).map(|words| topics.named(words)) {
            assert!(ended.err.contains(&words), "{}, {when}: {words:?}\n{}", case.name, ended.err);
        }
        for words in case.spares.iter().map(|words| topics.named(words)) {
            assert!(!ended.err.contains(&words), "{}, {when}: {words:?}\n{}", case.name, ended.err);
        }
        assert!(took < WITHIN, "{}, {when}: {took:?}\n{}", case.name, ended.err);
    };
    check(running.wait(), "as it runs");
    // The next start meets the same, with a batch in flight.
    let began = Instant::now();
    let ended = run(&bounded).wait().expect(6);
    assert!(began.elapsed() < WITHIN, "{}: {:?}\n{}", case.name, began.elapsed(), ended.err);
    assert!(ended.err.contains("Grant this user"), "{}\n{}", case.name, ended.err);

    broker.grant_all(&broker.stranger, &lost);
    run(&bounded).wait().expect(0);
    let texts = |topic: &Topic| -> Vec<String> {
        broker.read_committed(topic.name()).iter().map(|record| record.value_text()).collect()
    };
    let mut found = texts(&topics.out);
    if case.repeats {
        found.dedup();
    }
    assert_eq!(found, case.records, "{}", case.name);
    if case.steps.contains("OTHER") {
        assert_eq!(texts(&topics.other), case.records, "{}", case.name);
    }
}

#[test]
fn a_right_lost_in_mid_run_is_named_within_seconds_and_costs_no_batch() {
    let Some(broker) = broker() else { return };
    for cases in CASES.chunks(4) {
        thread::scope(|scope| {
            for case in cases {
                scope.spawn(|| play(broker, *case));
            }
        });
    }
}

#[test]
fn a_mirror_group_that_the_user_may_not_use_is_one_warning() {
    let Some(broker) = broker() else { return };
    let (topics, group) = (Topics::new(broker), unique_name("mirror"));
    let log = "pprint = { to = \"out.log\" }";
    let job = job(broker, &unique_name("mirrored"), &topics, log);
    let place = Place::with_job(&format!("mirror_offsets_to = \"{group}\"\n{job}"));
    broker.grant_all(&broker.stranger, &[(Resource::Topic, topics.input.name(), Operation::Read)]);
    let run = || {
        let mut command = place.command(&format!("run job.toml --until-caught-up --manual-clock {START_MS}"));
        command.env("OUTPUT_PASSWORD", &broker.stranger_password);
        place.spawn(command).wait().expect(0)
    };
    let warnings = |ended: &Ended| ended.err.lines().filter(|line| line.contains("WARN")).count();
    broker.produce(topics.input.name(), 0, ["a", "b", "c"]);
    let ended = run().says(&["mirrored", &format!("group '{group}'")]);
    assert_eq!(warnings(&ended), 1, "{}", ended.err);
    broker.grant_all(&broker.stranger, &[(Resource::Group, &group, Operation::Read)]);
    broker.produce(topics.input.name(), 0, ["d"]);
    let ended = run();
    assert_eq!(warnings(&ended), 0, "{}", ended.err);
    assert_eq!(broker.group_offsets(&group, topics.input.name(), 1), [Some(4)]);
}
