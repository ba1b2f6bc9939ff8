//! Every crash point of jobs of one output: {stateless, stateful, windowed} x {log, directories, growing file, dead letters,
//! command, Kafka}. An ordinary run takes a few of the pairs of job and output, and one point of the way back for each
//! point; `KSTREAM_LONG=1` all of them, which takes hours. `KSTREAM_LONG_PART=3/20` runs the third twentieth of that.

use std::{collections::BTreeMap, fs};

use kstream::crash::POINTS;

use super::{
    super::{
        broker::{Broker, Topic, broker, unique_name},
        support::Place,
    },
    BATCHES, ON_THE_WAY_BACK, assert_same, bounded, die, head, image, in_the_middle, messages, place,
};

pub fn long() -> bool {
    std::env::var("KSTREAM_LONG").is_ok_and(|value| value == "1")
}

/// Which of the cases of a long run this one takes, spread evenly over all.
pub struct Share {
    part: usize,
    parts: usize,
    seen: usize,
}

impl Share {
    pub fn given() -> Share {
        let text = std::env::var("KSTREAM_LONG_PART").ok().filter(|_| long()).unwrap_or_else(|| "1/1".to_owned());
        let share = text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
        match share {
            Some((part, parts)) if (1..=parts).contains(&part) => Share { part, parts, seen: 0 },
            _ => panic!("KSTREAM_LONG_PART is PART/PARTS, like 3/20, and not {text:?}"),
        }
    }

    pub fn takes_next(&mut self) -> bool {
        self.seen += 1;
        // Seconds come in rows of the same length: a row that a part divides would else give it the same seconds only.
        let row = self.seen / self.parts;
        (self.seen + row) % self.parts == self.part - 1
    }
}

/// What a job remembers from batch to batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Stateless,
    Stateful,
    Windowed,
}

const SHAPES: &[Shape] = &[Shape::Stateless, Shape::Stateful, Shape::Windowed];

impl Shape {
    fn steps(self) -> &'static str {
        match self {
            Shape::Stateless => "[[steps]]\nname = \"result\"\nreduce_by_key = \"lambda a, b: a + b\"\n",
            Shape::Stateful => {
                "[[steps]]\nname = \"result\"\n\
                 update_state_by_key = \"lambda values, total: sum(values) + (total or 0)\"\n"
            }
            Shape::Windowed => {
                "[[steps]]\nname = \"result\"\nreduce_by_key_and_window = { func = \"lambda a, b: a + b\", \
                 inverse = \"lambda a, b: a - b\", length = \"3s\", slide = \"1s\" }\n"
            }
        }
    }
}

/// One kind of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Log,
    Files,
    Grown,
    Letters,
    Command,
    Kafka,
}

impl Kind {
    fn steps(self, brokers: &str, topic: &str) -> String {
        match self {
            Kind::Log => "[[steps]]\npprint = { num = 1000, to = \"out.log\", rotate = \"400B\" }\n".to_owned(),
            Kind::Files => "[[steps]]\nsave_as_text_files = \"saved/counts\"\n".to_owned(),
            Kind::Grown => {
                "[[steps]]\nto_file = { path = \"grown.jsonl\", format = \"json\", layout = \"append\" }\n".to_owned()
            }
            // The letters come of a step before.
            Kind::Letters => "[[steps]]\nsave_as_text_files = \"saved/counts\"\n".to_owned(),
            Kind::Command => {
                "[[steps]]\ncommand = \"cat > told.$KSTREAM_BATCH_ID; echo $KSTREAM_BATCH_ID >> order\"\n".to_owned()
            }
            Kind::Kafka => {
                format!("[[steps]]\nto_kafka = {{ topic = \"{topic}\", brokers = \"{brokers}\" }}\n")
            }
        }
    }

    /// Whether a job with this output alone comes to a point.
    fn reaches(self, point: &str) -> bool {
        let own: &[&str] = match self {
            Kind::Log => &["log: "],
            Kind::Files => &["files: "],
            Kind::Grown => &["log: written", "log: synced"],
            Kind::Letters => &["files: ", "log: written", "log: synced"],
            Kind::Command => &[],
            Kind::Kafka => &["kafka: "],
        };
        let others = ["journal: ", "log: ", "files: ", "kafka: ", "rewind: ", "recover: "];
        let never = ["files: old aside", "commit: snapshot written"];
        let is_own = own.iter().any(|prefix| point.starts_with(prefix));
        !never.contains(&point) && (is_own || !others.iter().any(|prefix| point.starts_with(prefix)))
    }
}

/// What is left at the end, in files and on a topic.
struct Left {
    files: BTreeMap<String, Vec<u8>>,
    messages: Vec<(String, String)>,
}

/// A job of one shape with one output, on its topic if it has one.
fn crossed(shape: Shape, kind: Kind, broker: Option<&Broker>, topic: &str) -> Place {
    let brokers = broker.map_or("", |broker| broker.brokers.as_str());
    let mut text = head(&if kind == Kind::Kafka { unique_name("crossed") } else { "crossed".to_owned() });
    if kind == Kind::Letters {
        let keys = "retention = { batches = 3 }\n";
        let letters = "on_error = \"dead_letter\"\ndead_letter = { file = \"letters.jsonl\" }\n";
        text = text.replace(keys, &format!("{keys}{letters}"));
    }
    text += "[[steps]]\nflat_map = 'lambda line: line.split(\" \")'\n";
    let counted = if kind == Kind::Letters { "(word, 1 // (0 if word == \"w2\" else 1))" } else { "(word, 1)" };
    text += &format!("[[steps]]\nmap = 'lambda word: {counted}'\n");
    place(&(text + shape.steps() + &kind.steps(brokers, topic)))
}

fn left(place: &Place, broker: Option<&Broker>, topic: &str) -> Left {
    let mut files = image(place);
    // Which batches a program was told of: judged by itself.
    files.remove("order");
    Left { files, messages: broker.map(|broker| messages(broker, topic)).unwrap_or_default() }
}

/// A program gets the batch in flight again, and no other.
#[track_caller]
fn assert_repeated_only_in_flight(place: &Place, kills: usize, case: &str) {
    let told: Vec<usize> = place.read("order").lines().map(|id| id.parse().expect("an id")).collect();
    let mut once = told.clone();
    once.dedup();
    assert_eq!(once, (0..BATCHES).collect::<Vec<_>>(), "{case}: {told:?}");
    assert!(told.len() <= BATCHES + kills, "{case}: {told:?}");
}

/// Runs with a kill at `point`, which a run that has little left to do may not come to. True where it did.
pub fn die_or_end(place: &Place, point: &str) -> bool {
    let _ = fs::remove_file(place.path("report"));
    let mut command = place.command(&bounded());
    command.env("KSTREAM_CRASH_AT", point).env("KSTREAM_CRASH_REPORT", place.path("report"));
    let ended = place.spawn(command).wait();
    let died = place.path("report").exists();
    assert_eq!(ended.code, if died { None } else { Some(0) }, "{point}\n{}", ended.err);
    died
}

/// Every point that a job with this output comes to: killed there, and again in the recovery.
fn cross(kind: Kind, ordinary: &[Shape]) {
    let broker = match kind {
        Kind::Kafka => match broker() {
            Some(broker) => Some(broker),
            None => return,
        },
        _ => None,
    };
    let topic = || broker.map(|broker| broker.topic("crossed", 1));
    let name = |topic: &Option<Topic>| topic.as_ref().map_or("", |topic| topic.name()).to_owned();
    let points: Vec<&str> = POINTS.iter().copied().filter(|point| kind.reaches(point)).collect();
    let recovery = POINTS.iter().copied().filter(|point| point.starts_with("recover: "));
    let seconds: Vec<&str> = points.iter().copied().chain(recovery).collect();
    let mut share = Share::given();
    for &shape in if long() { SHAPES } else { ordinary } {
        let calm_topic = topic();
        let calm = crossed(shape, kind, broker, &name(&calm_topic));
        calm.kstream(&bounded()).expect(0);
        let expected = left(&calm, broker, &name(&calm_topic));
        assert!(!expected.files.is_empty() || expected.messages.len() > BATCHES, "{kind:?}, {shape:?}: no output");
        let (mut cases, mut twice) = (0, 0);
        for (at, point) in points.iter().enumerate() {
            let one = [ON_THE_WAY_BACK[at % ON_THE_WAY_BACK.len()]];
            for second in if long() { &seconds[..] } else { &one } {
                if !share.takes_next() {
                    continue;
                }
                let case = format!("{kind:?}, {shape:?}: {point}, then {second}");
                let topic = topic();
                let rough = crossed(shape, kind, broker, &name(&topic));
                die(&rough, &bounded(), &in_the_middle(point));
                cases += 1;
                if die_or_end(&rough, second) {
                    twice += 1;
                    die_or_end(&rough, point);
                }
                rough.kstream(&bounded()).expect(0);
                let found = left(&rough, broker, &name(&topic));
                assert_same(&found.files, &expected.files, &case);
                assert_eq!(found.messages, expected.messages, "{case}");
                if kind == Kind::Command {
                    assert_repeated_only_in_flight(&rough, 3, &case);
                }
                rough.kstream("replay job.toml --verify").expect(0);
            }
        }
        eprintln!("{kind:?}, {shape:?}: {cases} cases, {twice} of them killed again");
        // A point that a process alone reaches, like the making of a checkpoint, has no second time.
        assert!(cases * share.parts > 15 && twice * 10 >= cases * 6, "{kind:?}, {shape:?}: {twice} of {cases}");
    }
}

#[test]
fn every_point_of_outputs_into_files_recovers() {
    // The jobs above have logs and growing files.
    for (kind, ordinary) in [
        (Kind::Files, &[Shape::Windowed][..]),
        (Kind::Log, &[]),
        (Kind::Grown, &[]),
        (Kind::Letters, &[Shape::Stateful]),
    ] {
        cross(kind, ordinary);
    }
}

#[test]
fn every_point_of_a_delivery_to_kafka_recovers() {
    cross(Kind::Kafka, &[Shape::Stateful]);
}

#[test]
fn a_command_repeats_no_batch_but_the_one_in_flight() {
    cross(Kind::Command, &[Shape::Windowed]);
}
