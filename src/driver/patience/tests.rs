//! Waits that end by an answer, a stop, a limit, a shortage of files.

use super::*;

fn patience() -> (Patience, crossbeam_channel::Sender<()>) {
    let (ask, requests) = crossbeam_channel::bounded(1);
    (Patience::new(Drain::new(requests)), ask)
}

fn away() -> Refusal {
    Refusal::of_source(&SourceError { kind: SourceErrorKind::Unreachable, message: "no answer".to_owned(), hint: None })
}

fn error() -> DriverError {
    DriverError::new(Class::Kafka, "no answer")
}

#[test]
fn a_call_is_tried_until_it_is_answered_or_the_limit_has_passed() {
    let (mut patience, _keep) = patience();
    let peer = Peer::source("s", Duration::from_millis(500));
    let mut tries = 0;
    let answer = patience.ask(peer, |_| {
        tries += 1;
        if tries < 3 { Err(away()) } else { Ok(tries) }
    });
    assert_eq!(answer.unwrap(), Some(3));
    assert!(patience.away.is_none());
    let began = Instant::now();
    let gave_up = patience.ask(peer, |_| Err::<(), _>(away())).unwrap_err();
    assert_eq!(gave_up.class, Class::Kafka);
    assert!(gave_up.detail[0].contains("`unreachable_limit` is 0.5 s"), "{:?}", gave_up.detail);
    assert!((500..2_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[test]
fn a_final_refusal_and_a_request_to_drain_end_the_wait_at_once() {
    let (mut patience, ask) = patience();
    let peer = Peer::output("out", Duration::from_secs(60));
    let denied = SinkError::new(SinkErrorKind::Denied, "denied");
    assert_eq!(patience.ask_output(peer, || Err::<(), _>(denied.clone())).unwrap_err().class, Class::Kafka);
    assert!(patience.away.is_none(), "nothing was waited for");
    ask.send(()).unwrap();
    let gone = SinkError::new(SinkErrorKind::Unreachable, "gone");
    let stopped = patience.ask_output(peer, || Err::<(), _>(gone.clone())).unwrap_err();
    assert!(stopped.message.contains("asked to stop"), "{stopped}");
}

#[test]
fn a_wait_amid_a_batch_ends_with_its_commit_and_another_with_an_answer() {
    let (mut patience, _keep) = patience();
    let peer = Peer::source("s", Duration::from_secs(60));
    patience.outlast_batch(peer, Instant::now(), error()).unwrap();
    let since = patience.away.as_ref().map(|away| away.since);
    assert_eq!(patience.ask(peer, |_| Ok(1)).unwrap(), Some(1));
    assert_eq!(patience.away.as_ref().map(|away| away.since), since, "the batch may fail again");
    patience.is_over();
    assert!(patience.away.is_none());
}

#[test]
fn what_is_settled_inside_a_call_ends_the_wait_for_it() {
    let (mut patience, _keep) = patience();
    let peer = Peer::source("s", Duration::from_millis(500));
    let watch = patience.watch(peer);
    for _ in 0..4 {
        patience.outlast(peer, Instant::now(), error()).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        watch.is_settled();
    }
    std::thread::sleep(Duration::from_millis(300));
    patience.outlast(peer, Instant::now(), error()).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    patience.outlast(peer, Instant::now(), error()).unwrap_err();
}

#[test]
fn a_call_without_answer_counts_as_waited_but_not_one_that_went_well_for_long() {
    let check = |took_ms: u64, limit_ms: u64, waited_ms: u64| {
        let (mut patience, _keep) = patience();
        let peer = Peer::output("out", Duration::from_millis(limit_ms));
        let now = Instant::now();
        let Some(began) = now.checked_sub(Duration::from_millis(took_ms)) else { return };
        patience.outlast(peer, began, error()).unwrap();
        let since = patience.away.as_ref().map(|away| away.since).unwrap();
        let waited = now.saturating_duration_since(since).as_millis() as u64;
        assert!(waited <= waited_ms && waited_ms <= waited + 50, "{took_ms} of {limit_ms}: {waited}");
    };
    check(0, 10_000, 0);
    check(1_000, 10_000, 1_000);
    check(9_000, 10_000, 2_500);
    check(90_000, 600_000, 30_000);
}

#[test]
fn a_wait_inside_a_call_is_told_once_and_ends_when_asked_to_stop_or_at_the_limit() {
    let (mut patience, ask) = patience();
    let watch = patience.watch(Peer::output("out", Duration::from_secs(20)));
    let (short, long) = (Duration::from_secs(1), Duration::from_secs(4));
    assert!(watch.waits_on(short, "slow"));
    assert!(patience.told.since().away.is_none(), "slow is not away");
    assert!(watch.waits_on(long, "gone"));
    let since = patience.told.since().away;
    assert!(since.is_some());
    patience.outlast_batch(Peer::output("out", Duration::from_secs(20)), Instant::now(), error()).unwrap();
    assert_eq!(patience.away.as_ref().map(|away| away.since), since, "one wait, from its beginning");
    patience.told.since().away = Instant::now().checked_sub(Duration::from_secs(21));
    assert!(!watch.waits_on(long, "gone"), "the limit");
    patience.is_over();
    ask.send(()).unwrap();
    assert!(watch.waits_on(short, "slow"), "it may go well yet");
    assert!(!watch.waits_on(long, "gone"), "asked to stop");
    assert!(!watch.waits_on(short, "gone"), "another call of the same wait ends with it");
    assert!(watch.is_stopping());
    assert!(patience.drain.requested(), "the request is still there for the run");
}

#[test]
fn a_call_that_went_on_after_a_silence_is_not_counted_as_waiting_since_then() {
    let (patience, _keep) = patience();
    let watch = patience.watch(Peer::source("s", Duration::from_secs(20)));
    assert!(watch.waits_on(Duration::from_secs(4), "gone"));
    patience.told.since().away = Instant::now().checked_sub(Duration::from_secs(60));
    assert!(watch.waits_on(Duration::from_secs(4), "gone again"));
    assert!(!watch.waits_on(Duration::from_secs(21), "gone for long"));
}

#[test]
fn too_few_open_files_are_told_at_once_and_end_the_run_where_they_stay_too_few() {
    let (mut patience, _keep) = patience();
    let peer = Peer::source("s", Duration::from_secs(600));
    let watch = patience.watch(peer);
    let short = std::io::Error::from_raw_os_error(24).to_string();
    assert!(watch.waits_on(Duration::from_secs(1), &short));
    assert!(patience.told.since().shortage_is_told);
    let is_short = || DriverError::new(Class::Kafka, short.clone());
    assert!(patience.outlast(peer, Instant::now(), is_short()).unwrap(), "it may be over soon");
    let lasting = Instant::now().checked_sub(LONGEST_SHORTAGE);
    patience.told.since().short = lasting;
    assert!(!watch.waits_on(Duration::from_secs(1), &short));
    let ended = patience.outlast(peer, Instant::now(), is_short()).unwrap_err();
    assert_eq!(ended.class, Class::Failed);
    assert!(ended.message.contains("source s") && ended.detail[0].contains(&short), "{ended:?}");
    assert!(watch.waits_on(Duration::from_secs(1), "gone"), "it is over");
    assert!(patience.told.since().short.is_none());
    assert!(patience.outlast(peer, Instant::now(), error()).unwrap());
}

#[test]
fn a_limit_that_passes_tells_of_a_shortage_of_files_in_between() {
    let (mut patience, _keep) = patience();
    let peer = Peer::source("s", Duration::from_secs(20));
    let watch = patience.watch(peer);
    assert!(watch.waits_on(Duration::from_secs(1), &std::io::Error::from_raw_os_error(24).to_string()));
    assert!(watch.waits_on(Duration::from_secs(1), "gone"), "files are enough by now");
    let past = Instant::now().checked_sub(Duration::from_secs(21));
    patience.told.since().away = past;
    let ended = patience.outlast(peer, Instant::now(), error()).unwrap_err();
    assert_eq!(ended.class, Class::Kafka);
    assert!(open_files::remedy(ended.detail.iter().map(String::as_str)).is_some(), "{ended:?}");
    patience.is_over();
    patience.told.since().away = past;
    patience.away = None;
    let ended = patience.outlast(peer, Instant::now(), error()).unwrap_err();
    assert!(open_files::remedy(ended.detail.iter().map(String::as_str)).is_none(), "{ended:?}");
}

#[test]
fn missed_ticks_are_explained_once() {
    let (mut patience, _keep) = patience();
    assert!(!patience.explains_missed_ticks());
    patience.outlast(Peer::source("s", Duration::from_secs(60)), Instant::now(), error()).unwrap();
    patience.is_over();
    assert!(patience.explains_missed_ticks());
    assert!(!patience.explains_missed_ticks());
}
