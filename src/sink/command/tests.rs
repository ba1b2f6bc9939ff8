//! One program and one batch: what it gets, how it ends, what an error says.

use std::{fs, time::Instant};

use super::*;
use crate::{
    model::Value,
    sink::log::tests_support::{identity, output},
};

fn sink(run: &[&str], limit: Duration) -> CommandSink {
    CommandSink::new("command#1", "orders", run.iter().map(|&word| word.to_owned()).collect(), limit)
}

fn publish(run: &[&str], limit: Duration, elements: Vec<Value>) -> Result<(), SinkError> {
    let mut sink = sink(run, limit);
    sink.stage(&identity(4), output(Content::Elements(elements))).unwrap();
    assert_eq!(sink.published(&identity(4)).unwrap(), Published::Unknown);
    sink.publish(&PublishPermit::for_test(identity(4)))
}

fn shell(script: &str, elements: Vec<Value>) -> Result<(), SinkError> {
    publish(&["sh", "-c", script], Duration::from_secs(60), elements)
}

fn many() -> Vec<Value> {
    (0..200_000).map(|number| Value::pair(Value::str("number"), Value::Int(number))).collect()
}

#[test]
fn elements_are_json_lines_and_the_environment_names_the_batch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let script = format!(
        "{{ cat; echo $KSTREAM_BATCH_ID $KSTREAM_BATCH_TIME $KSTREAM_BATCH_ELEMENTS $KSTREAM_JOB; }} > {}",
        path.display()
    );
    shell(&script, vec![Value::pair(Value::str("a b"), Value::Int(1)), Value::None]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "[\"a b\", 1]\nnull\n4 5000 2 orders\n");
}

#[test]
fn a_batch_larger_than_a_pipe_that_is_echoed_to_both_streams_does_not_stop_the_process() {
    shell("tee /dev/stderr", many()).unwrap();
}

#[test]
fn a_command_may_close_stdin_early() {
    shell("exit 0", many()).unwrap();
    shell("head -n 1", many()).unwrap();
    shell("exec <&- >&- 2>&-; sleep 0.1", many()).unwrap();
}

#[test]
fn a_failure_tells_the_exit_code_or_the_signal_and_the_end_of_stderr() {
    for (script, message, detail) in [
        ("cat; exit 7", "exit code 7", "nothing"),
        (
            "for n in 1 2 3 4 5 6 7; do echo line $n >&2; done; exit 1",
            "exit code 1",
            ":\nline 3\nline 4\nline 5\nline 6\nline 7",
        ),
        ("kill -9 $$", "signal: 9", "nothing"),
    ] {
        let error = shell(script, vec![Value::Int(1)]).unwrap_err();
        assert_eq!(error.kind, SinkErrorKind::Transient, "{script}");
        assert!(error.message.contains(message), "{script}: {error}");
        assert!(error.detail.as_ref().unwrap().contains(detail), "{script}: {error:?}");
    }
}

#[test]
fn at_the_time_limit_the_whole_group_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", path.display());
    let begun = Instant::now();
    let error = publish(&["sh", "-c", &script], Duration::from_millis(500), many()).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(error.message.contains("500ms"), "{error}");
    assert!(error.hint.unwrap().contains("timeout"));
    let sleeper = fs::read_to_string(&path).unwrap();
    // Gone, or a zombie that its new parent has not yet waited for; it dies a moment after the signal.
    let state = || fs::read_to_string(format!("/proc/{}/stat", sleeper.trim())).unwrap_or_default();
    let is_dead = |state: &str| state.is_empty() || state.contains(") Z ");
    while begun.elapsed() < Duration::from_secs(30) && !is_dead(&state()) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(is_dead(&state()), "{}", state());
}

#[test]
fn what_a_command_leaves_in_the_background_does_not_hold_the_batch() {
    let begun = Instant::now();
    shell("sleep 20 & exit 0", vec![Value::Int(1)]).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_missing_program_is_named_and_not_tried_again() {
    let error = publish(&["no-such-program-here"], Duration::from_secs(1), Vec::new()).unwrap_err();
    assert_eq!(error.kind, SinkErrorKind::Failed);
    assert!(error.message.contains("no-such-program-here"), "{error}");
    assert_eq!(error.detail.as_deref(), Some("There is no such program."));
}

#[test]
fn an_element_without_json_form_is_refused_before_anything_runs() {
    let mut sink = sink(&["true"], Duration::from_secs(1));
    let element = Value::Bytes(Arc::from(*b"raw"));
    let error = sink.stage(&identity(0), output(Content::Elements(vec![element]))).unwrap_err();
    assert!(error.message.contains("bytes"), "{error}");
}
