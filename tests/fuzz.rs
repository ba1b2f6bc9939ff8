//! The fuzz targets on their corpus and on some mutations of it, so that they never rot; and what fuzzing has found.

#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/record_sets.rs"]
mod record_sets;
#[path = "fuzz/targets.rs"]
mod targets;

use self::{
    mutate::Dice,
    targets::{TARGETS, next_input},
};

#[test]
fn every_fuzz_target_takes_its_corpus_and_some_mutations() {
    let mut dice = Dice::new(1);
    for target in TARGETS {
        let corpus = (target.corpus)();
        assert!(!corpus.is_empty(), "{}", target.name);
        corpus.iter().for_each(|input| (target.run)(input));
        for _ in 0..60 {
            (target.run)(&next_input(target, &mut dice, &corpus));
        }
    }
}
