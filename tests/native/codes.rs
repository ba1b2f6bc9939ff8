//! Every error code of the protocol in every answer that the native data plane reads.

use kstream::source::SourceErrorKind;

use super::faults::{check_all, check_loss, open};
use crate::scripted_broker::{Fault, ScriptedBroker};

#[test]
fn every_error_code_passes_or_ends_with_its_kind() {
    let broker = ScriptedBroker::start();
    let mut plane = open(&broker);
    let is_refused = |code| [29, 31, 35, 42, 43, 76].contains(&code);
    for code in (-1..=135).filter(|code| *code != 0) {
        plane.stall_timeout_ms = 5_000;
        broker.push(Fault::Error(code));
        if is_refused(code) {
            let error = plane.read(0, 0, 20).unwrap_err();
            assert_eq!(error.kind, SourceErrorKind::Refused, "{code}: {error}");
            assert!(error.message.contains(&broker.address), "{error}");
        }
        check_all(&plane, &format!("error {code} once"));
        broker.assert_played();
        broker.push(Fault::TopError(code));
        check_all(&plane, &format!("error {code} of the response"));
    }
    // The same without end.
    for code in [-1, 1, 2, 3, 6, 29, 56, 74, 75, 78, 100, 103, 999] {
        // These end of themselves.
        plane.stall_timeout_ms = if [1, 2, 29].contains(&code) { 5_000 } else { 150 };
        broker.change(|state| state.lasting_fault = Some(Fault::Error(code)));
        let error = plane.read(0, 0, 20).unwrap_err();
        let as_expected = match code {
            1 => matches!(error.kind, SourceErrorKind::DataLoss { .. }),
            2 => error.kind == SourceErrorKind::Corrupt,
            29 => error.kind == SourceErrorKind::Refused,
            _ => error.kind == SourceErrorKind::Unreachable && error.message.contains("150 ms"),
        };
        assert!(as_expected, "{code}: {error:?}");
        broker.change(|state| state.lasting_fault = None);
        plane.stall_timeout_ms = 5_000;
        check_all(&plane, &format!("after error {code}"));
    }
}

/// Asked for after an offset that seems to be out of range, and for a batch that says it lies behind the log's end.
#[test]
fn every_error_code_of_a_look_up_of_offsets_passes_or_ends_with_its_kind() {
    let broker = ScriptedBroker::start();
    let mut plane = open(&broker);
    plane.stall_timeout_ms = 5_000;
    for code in (-1..=135).filter(|code| *code != 0) {
        // For the earliest offset, and for the latest.
        for answers in [vec![code], vec![code, 0]] {
            broker.push(Fault::Error(1));
            broker.change(|state| state.lookup_errors.clone_from(&answers));
            if code == 29 {
                let error = plane.read(0, 0, 20).unwrap_err();
                assert_eq!(error.kind, SourceErrorKind::Refused, "{code}: {error}");
                assert!(error.message.contains("ListOffsets") && error.message.contains(&broker.address), "{error}");
            }
            check_all(&plane, &format!("error {code} of ListOffsets, {answers:?}"));
            broker.assert_played();
            assert!(broker.change(|state| state.lookup_errors.is_empty()), "{code}: nobody asked");
        }
    }
}

/// Asked for by a new process, before it goes on where another one read up to in an older epoch.
#[test]
fn every_error_code_of_a_look_up_of_epochs_passes_or_ends_with_its_kind() {
    let broker = ScriptedBroker::start();
    let restarted = || {
        let mut plane = open(&broker);
        plane.start_epoch = Some(2);
        plane.leader_epoch = Some(3);
        plane
    };
    for code in (-1..=135).filter(|code| *code != 0) {
        broker.change(|state| state.epoch_error = Some(code));
        let plane = restarted();
        if code == 29 {
            let error = plane.read(0, 15, 20).unwrap_err();
            assert_eq!(error.kind, SourceErrorKind::Refused, "{code}: {error}");
            let says = ["OffsetForLeaderEpoch", "DESCRIBE", &*broker.address];
            assert!(says.iter().all(|fact| format!("{error} {:?}", error.hint).contains(fact)), "{error:?}");
        }
        assert_eq!(plane.read(0, 15, 20).unwrap().len(), 5, "error {code} of OffsetForLeaderEpoch");
        assert_eq!(broker.change(|state| state.epoch_error), None, "{code}: nobody asked");
    }
    // However often it fails, what was cut is found.
    for code in [-1, 3, 6, 74, 75, 78, 999] {
        broker.change(|state| (state.epoch_error, state.epoch_end) = (Some(code), 12));
        check_loss(restarted().read(0, 15, 20).unwrap_err(), (0, 12), "was cut at offset 12");
    }
}
