//! stdout and stderr that are full, closed or nobody's.

use super::{COUNTED, bounded, embedded, shell};
use crate::support::{Ended, Place, blocks};

fn printing(batches: usize) -> Place {
    let place = Place::with_job("");
    let shown = COUNTED.replace(", to = \"out.log\"", "");
    embedded(&place, batches * 10, 1, "max_records_per_partition = 10", &shown);
    place
}

fn run(place: &Place, redirected: &str) -> Ended {
    place.spawn(shell(place, &format!("exec \"$0\" {} {redirected}", bounded()))).wait()
}

#[test]
fn a_stdout_that_is_full_ends_the_job_and_the_batch_comes_again() {
    let calm = printing(5);
    let shown = blocks(&calm.catch_up().out);
    assert_eq!(shown.len(), 5);
    let place = printing(5);
    run(&place, ">/dev/full").expect(1).says(&["cannot write to stdout", "No space left"]);
    assert_eq!(place.ledger().last().unwrap()["status"], "planned");
    assert_eq!(blocks(&place.catch_up().out), shown, "nothing that could not be printed is committed");
    for chore in ["batches job.toml", "check job.toml", "explain job.toml"] {
        let ended = place.spawn(shell(&place, &format!("exec \"$0\" {chore} >/dev/full"))).wait();
        ended.expect(1).says(&["cannot write to stdout"]);
    }
}

#[test]
fn a_closed_stdout_is_nobody_and_does_the_checkpoint_no_harm() {
    let place = printing(5);
    run(&place, ">&-").expect(0);
    assert_eq!(place.ledger().len(), 5);
    place.kstream("replay job.toml --verify").expect(0);
    let place = printing(5);
    run(&place, "<&- >&- 2>&-").expect(0);
    assert_eq!(place.ledger().len(), 5);
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn logs_that_nobody_can_take_cost_no_batch() {
    let shown = blocks(&printing(5).catch_up().out);
    for (stderr, verbose) in [("2>/dev/full", ""), ("2>/dev/full", "-vv --log-format json"), ("2>&-", "-vv")] {
        let place = printing(5);
        let ended = run(&place, &format!("{verbose} {stderr}")).expect(0);
        assert_eq!(blocks(&ended.out), shown, "{stderr} {verbose}");
        assert_eq!(place.ledger().len(), 5);
    }
    let place = printing(5);
    place.write("job.toml", place.read("job.toml").replace("record.value.split", "record.nothing.split"));
    run(&place, "2>/dev/full").expect(1);
    place.write("job.toml", "");
    run(&place, "2>/dev/full").expect(2);
}

#[test]
fn a_progress_file_that_cannot_be_written_is_named_before_the_first_batch() {
    let place = printing(5);
    place
        .kstream(&format!("{} --progress no/such/dir/progress.jsonl", bounded()))
        .says(&["no/such/dir/progress.jsonl"]);
    assert!(place.ledger_or_none().is_empty());
    let ended = place.kstream(&format!("{} --progress /dev/full", bounded()));
    assert!(ended.code == Some(0) || ended.err.contains("/dev/full"), "{}", ended.err);
}

impl Place {
    fn ledger_or_none(&self) -> String {
        self.kstream("batches job.toml -o json").out
    }
}
