//! Too few file descriptors: how the process tells that it has run out, and what to say then.
//!
//! Sockets, pipes and SQLite's files all fail in words of their own, some without the cause. So where something could not
//! be opened the process looks whether it can open anything at all.

use std::fs::File;

use nix::sys::resource::{Resource, getrlimit};

/// How many files must be left for a failure to have another cause.
const SPARE: usize = 4;

/// What the system says of it, however it is capitalised.
const WORDS: &str = "oo many open files";

/// Enough for any job on one cluster with hundreds of partitions.
const ENOUGH: u64 = 256;

/// Where hardly a file can be opened any more: that, and the limit.
pub fn shortage() -> Option<String> {
    let mut spare = Vec::with_capacity(SPARE);
    while spare.len() < SPARE {
        match File::open("/dev/null") {
            Ok(file) => spare.push(file),
            Err(error) if error.to_string().contains(WORDS) => {
                let (left, limit) = (spare.len(), limit());
                return Some(format!("Too many open files: {left} more can be opened, the limit is {limit}"));
            }
            Err(_) => return None,
        }
    }
    None
}

/// Whether something failed for want of files, as `text` says or as it looks now.
pub fn is_short(text: &str) -> bool {
    text.contains(WORDS) || shortage().is_some()
}

/// `text`, with the shortage behind it where there is one.
pub fn explain(text: String) -> String {
    match shortage() {
        Some(shortage) if !text.contains(WORDS) => format!("{}. {shortage}", text.trim_end_matches('.')),
        _ => text,
    }
}

/// What to say where some of a wait is explained by it, though files were enough when it ended.
pub fn for_a_while() -> String {
    format!("T{WORDS} for some of that time: the limit is {}.", limit())
}

/// What to do, where any of these texts speaks of too many open files.
pub fn remedy<'a>(mut texts: impl Iterator<Item = &'a str>) -> Option<String> {
    texts.any(|text| text.contains(WORDS)).then(|| {
        format!("Raise the limit of open files, now {}: `ulimit -n {ENOUGH}`, or LimitNOFILE= of the service.", limit())
    })
}

fn limit() -> String {
    getrlimit(Resource::RLIMIT_NOFILE).map_or_else(|_| "unknown".to_owned(), |(soft, _)| soft.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_system_have_a_remedy_and_others_have_none() {
        let system = std::io::Error::from_raw_os_error(24).to_string();
        let remedy_of = |text: &str| remedy(["the first", text].into_iter());
        assert!(remedy_of(&system).unwrap().contains("ulimit -n"));
        assert!(remedy_of("Too many open files: 0 more can be opened").is_some());
        assert!(remedy_of("no such file").is_none());
        assert_eq!(explain("as it was".to_owned()), "as it was", "the tests may open many files");
    }
}
