//! `to_kafka` while single requests are lost or refused: whichever it is, readers of committed records see each batch once.

use std::{
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use kafka_protocol::messages::ApiKey;

use super::{
    broker::{Broker, Topic, broker, unique_name},
    kafka_output::{bounded, delivered, fill, job, shown},
    proxy::{Fault, Plan, Proxy},
    run::{sums, truth},
    support::{Ended, Place},
};

/// Lines a partition: three batches.
const LINES: u64 = 60;

/// Cases played at the same time: they mostly wait.
const AT_ONCE: usize = 4;

/// What a transaction is made of, in its order.
const TRANSACTION: [ApiKey; 6] = [
    ApiKey::InitProducerId,
    ApiKey::AddPartitionsToTxn,
    ApiKey::Produce,
    ApiKey::AddOffsetsToTxn,
    ApiKey::TxnOffsetCommit,
    ApiKey::EndTxn,
];

/// What surrounds it.
const QUESTIONS: [ApiKey; 6] = [
    ApiKey::ApiVersions,
    ApiKey::Metadata,
    ApiKey::FindCoordinator,
    ApiKey::OffsetFetch,
    ApiKey::ListOffsets,
    ApiKey::Fetch,
];

/// A job of its own behind a proxy of its own; all read the same topic.
struct Case<'a> {
    broker: &'a Broker,
    proxy: Proxy,
    output: Topic,
    place: Place,
    lines: &'a [String],
}

impl<'a> Case<'a> {
    fn new(broker: &'a Broker, input: &str, lines: &'a [String], limit: &str) -> Case<'a> {
        let (proxy, output) = (Proxy::before(&broker.brokers), broker.topic("out", 3));
        let name = unique_name("asked");
        let text = job(&name, &proxy.address, input, &format!("topic = \"{}\"", output.name()));
        let text = text.replace("max_records", &format!("unreachable_limit = \"{limit}\"\nmax_records"));
        Case { broker, proxy, output, place: Place::with_job(&text), lines }
    }

    fn run(&self) -> Ended {
        self.place.kstream(&bounded())
    }

    /// Every word is counted once, in the log and in the topic.
    fn check(&self, what: &str) {
        let (expected, log) = (truth(self.lines.iter().map(String::as_str)), self.place.read("out.log"));
        assert_eq!(sums(&log), expected, "{what}: log");
        let (found, messages) = delivered(self.broker, self.output.name());
        assert_eq!(found, expected, "{what}: topic");
        assert_eq!(messages, shown(&log), "{what}: one message for each line of the log");
    }
}

/// Calls `play` with every case, some at a time, and names the one that fails.
fn at_once<T: Copy + Send + Sync + std::fmt::Debug>(cases: &[T], play: impl Fn(T) + Sync) {
    let next = Mutex::new(cases.iter());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(cases.len()) {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().map(|mut next| next.next().copied()).ok().flatten() else { return };
                    let began = Instant::now();
                    play(case);
                    eprintln!("{case:?} took {:?}", began.elapsed());
                }
            });
        }
    });
}

fn is_long() -> bool {
    std::env::var("KSTREAM_LONG").is_ok_and(|value| value == "1")
}

/// Which of its kind is hit: the first, and one amid the job; all of the first ten in a long run.
fn numbers() -> &'static [usize] {
    if is_long() { &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10] } else { &[1, 3] }
}

#[test]
fn a_lost_request_or_answer_costs_no_batch_and_doubles_none() {
    let Some(broker) = broker() else { return };
    let input = broker.topic("in", 2);
    let lines = fill(broker, input.name(), LINES);
    let calm = Case::new(broker, input.name(), &lines, "60s");
    calm.run().expect(0);
    calm.check("calm");
    let mut cases = Vec::new();
    for key in TRANSACTION.into_iter().chain(QUESTIONS) {
        let seen = calm.proxy.seen(key);
        assert!(seen > 0, "the job never asks {key:?}");
        for &nth in numbers().iter().filter(|nth| **nth <= seen) {
            cases.extend([Fault::RequestLost, Fault::AnswerLost].map(|fault| (key, nth, fault)));
        }
    }
    let missed = Mutex::new(Vec::new());
    at_once(&cases, |(key, nth, fault)| {
        let case = Case::new(broker, input.name(), &lines, "60s");
        case.proxy.play(Plan { key, nth, fault, away: Duration::ZERO });
        let ended = case.run();
        let what = format!("{key:?} {nth} {fault:?}\n{}", ended.err);
        ended.expect(0);
        case.check(&what);
        if !case.proxy.was_played() {
            missed.lock().unwrap().push((key, nth, fault));
        }
    });
    // How often a job asks about what may have changed, and waits for what is to come, depends on the moment.
    let missed = missed.into_inner().unwrap();
    assert!(missed.iter().all(|(key, nth, _)| *nth > 1 || QUESTIONS.contains(key)), "not played: {missed:?}");
    assert!(missed.len() * 5 < cases.len(), "not played: {missed:?}");
}

#[test]
fn a_producer_that_gives_up_in_a_transaction_is_made_anew_and_finds_out_what_became_of_it() {
    let Some(broker) = broker() else { return };
    let input = broker.topic("in", 2);
    let lines = fill(broker, input.name(), LINES);
    let cases: Vec<_> = TRANSACTION
        .into_iter()
        .flat_map(|key| [Fault::RequestLost, Fault::AnswerLost].map(|fault| (key, fault)))
        .collect();
    let gave_up = Mutex::new(Vec::new());
    at_once(&cases, |(key, fault)| {
        // A call is given three seconds, the job twelve; nobody is let in for five.
        let case = Case::new(broker, input.name(), &lines, "12s");
        let nth = if key == ApiKey::InitProducerId { 1 } else { 2 };
        case.proxy.play(Plan { key, nth, fault, away: Duration::from_secs(5) });
        let ended = case.run();
        let what = format!("{key:?} {fault:?}\n{}", ended.err);
        if ended.err.contains("waiting for Kafka") {
            gave_up.lock().unwrap().push((key, fault));
        }
        ended.expect(0);
        assert!(case.proxy.was_played(), "{what}");
        case.check(&what);
    });
    let gave_up = gave_up.into_inner().unwrap();
    eprintln!("gave up: {gave_up:?}");
    assert!(gave_up.len() * 2 >= cases.len(), "only {gave_up:?}");
}

/// How a job takes an error of the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// It goes on by itself.
    Well,
    /// With this exit code, and the next start goes on.
    With(i32),
}

#[test]
fn every_error_of_a_transaction_is_outlived_or_ends_the_job_and_is_never_half_a_batch() {
    let Some(broker) = broker() else { return };
    let input = broker.topic("in", 2);
    let lines = fill(broker, input.name(), LINES);
    // Codes of the protocol.
    let codes = [
        (-1, "unknown", Ends::Well),
        (7, "request timed out", Ends::Well),
        (14, "coordinator loads", Ends::Well),
        (15, "coordinator not available", Ends::Well),
        (16, "not coordinator", Ends::Well),
        (47, "invalid producer epoch", Ends::With(5)),
        (48, "invalid transaction state", Ends::Well),
        (49, "invalid producer id", Ends::Well),
        (51, "concurrent transactions", Ends::Well),
        (53, "not authorized", Ends::With(6)),
        (90, "fenced", Ends::With(5)),
    ];
    let mut cases = Vec::new();
    for key in TRANSACTION {
        for (code, name, ends) in codes {
            cases.push((key, name, Fault::Refused(code), ends));
            // Those where it is plausible that it was done; all in a long run.
            if is_long() || [-1, 7, 16, 47].contains(&code) {
                cases.push((key, name, Fault::DoneButRefused(code), ends));
            }
        }
    }
    let wrong = Mutex::new(Vec::new());
    at_once(&cases, |(key, name, fault, ends)| {
        let case = Case::new(broker, input.name(), &lines, "8s");
        let nth = if key == ApiKey::InitProducerId { 1 } else { 2 };
        case.proxy.play(Plan { key, nth, fault, away: Duration::ZERO });
        let ended = case.run();
        let expected = match ends {
            Ends::Well => 0,
            Ends::With(code) => code,
        };
        if ended.code != Some(expected) {
            wrong.lock().unwrap().push(format!("{key:?} {name} {fault:?}: {:?}\n{}", ended.code, ended.err));
        }
        let what = format!("{key:?} {name} {fault:?}\n{}", ended.err);
        assert!(case.proxy.was_played(), "{what}");
        case.run().expect(0);
        case.check(&what);
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
