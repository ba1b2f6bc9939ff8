//! Kills while a checkpoint comes to be, at every step and again on the way back; and what such kills left of earlier programs.

use std::{fs, path::Path};

use kstream::crash::POINTS;

use super::{
    super::{old_checkpoint::copy, support::Place},
    assert_same, bounded, die, head, image, place,
    product::die_or_end,
};

fn steps(of: &[&str]) -> Vec<&'static str> {
    POINTS.iter().copied().filter(|point| of.iter().any(|prefix| point.starts_with(prefix))).collect()
}

/// What is written to a database under its name goes to its log, from the first byte on.
#[track_caller]
fn assert_written_ahead(place: &Place, case: &str) {
    assert!(!place.path("checkpoint/checkpoint.db-journal").exists(), "{case}");
    let found = fs::read(place.path("checkpoint/checkpoint.db"));
    // Readers find a checkpoint or none.
    place.kstream("batches job.toml").expect(if found.is_ok() { 0 } else { 2 });
    if let Ok(bytes) = found {
        assert_eq!(bytes.get(18..20), Some(&[2, 2][..]), "{case}: the database has its name and is not in WAL mode");
    }
}

#[test]
fn a_kill_at_any_step_of_a_creation_and_again_on_the_way_back_costs_nothing() {
    let job = head("created") + "[[steps]]\npprint = { num = 1000, to = \"out.log\" }\n";
    let calm = place(&job);
    calm.kstream(&bounded()).expect(0);
    let expected = image(&calm);
    let steps = steps(&["create: ", "start: "]);
    let made_by = steps.iter().position(|point| *point == "create: renamed").expect("a point");
    for (at, first) in steps.iter().enumerate() {
        for (again, second) in steps.iter().enumerate() {
            let case = format!("{first}, then {second}");
            let rough = place(&job);
            die(&rough, &bounded(), first);
            assert_written_ahead(&rough, &case);
            let died = die_or_end(&rough, second);
            // What has its name is not created again.
            assert_eq!(died, at < made_by || made_by < again, "{case}");
            assert_written_ahead(&rough, &case);
            rough.kstream(&bounded()).expect(0);
            assert_same(&image(&rough), &expected, &case);
        }
    }
}

/// A process of an earlier program was killed as it wrote to the database itself: as it switched that to its log; and, where
/// the disk had failed it there, as it committed a batch without one.
#[test]
fn what_an_earlier_program_left_half_written_is_taken_back() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoint-v1");
    for name in ["killed-in-creation", "killed-in-rollback-mode"] {
        let calm = Place::with_job("");
        copy(&fixtures.join(name), &calm.path(""));
        fs::remove_dir_all(calm.path("checkpoint")).expect("removed");
        let _ = fs::remove_file(calm.path("out.log"));
        calm.kstream(&bounded()).expect(0);
        let expected = image(&calm);
        let points = steps(&["journal: "]);
        for (at, first) in points.iter().enumerate() {
            for (again, second) in points.iter().enumerate() {
                let case = format!("{name}: {first}, then {second}");
                let rough = Place::with_job("");
                copy(&fixtures.join(name), &rough.path(""));
                let held = rough.files("checkpoint");
                rough.kstream("batches job.toml").expect(2).says(&["middle of a write", "Start the job"]);
                assert!(rough.files("checkpoint") == held, "{case}: a reader wrote");
                die(&rough, &bounded(), first);
                let died = die_or_end(&rough, second);
                assert_eq!(died, at == 0 || (at, again) == (1, 2), "{case}");
                rough.kstream(&bounded()).expect(0);
                assert_same(&image(&rough), &expected, &case);
                assert_written_ahead(&rough, &case);
                assert_eq!(rough.ledger().len(), 5, "{case}");
                assert!(!rough.path("checkpoint/checkpoint.trial").exists(), "{case}");
                rough.kstream("replay job.toml --verify").expect(0);
            }
        }
    }
}
