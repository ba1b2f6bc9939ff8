//! "did you mean": the known word closest to an unknown one.

/// `None` where nothing is close.
pub fn closest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let folded = word.to_lowercase().replace('-', "_");
    let allowed = (folded.chars().count() / 3).max(1);
    candidates
        .filter(|candidate| !candidate.is_empty())
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &candidate.to_lowercase().replace('-', "_")), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

pub fn did_you_mean<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<String> {
    closest(word, candidates).map(|close| format!("did you mean `{close}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, expected: Option<&str>) {
        let known = ["batch_interval", "name", "flat_map", "map", "reduce_by_key"];
        assert_eq!(closest(word, known.into_iter()), expected, "{word}");
    }

    #[test]
    fn slips_of_the_keyboard_are_recognised_and_other_words_are_not() {
        check("batch_intervall", Some("batch_interval"));
        check("batch-interval", Some("batch_interval"));
        check("nmae", Some("name"));
        check("flatMap", Some("flat_map"));
        check("reduceByKey", Some("reduce_by_key"));
        check("mpa", Some("map"));
        check("zzz", None);
        check("x", None);
    }
}
