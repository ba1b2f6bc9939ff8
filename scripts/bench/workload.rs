//! What a topic holds and what is asked of it. The same seed gives the same messages, so the truth can be computed anew.

use std::fmt::Write as _;

use clap::ValueEnum;

use crate::counts::Counts;

const SEED: u64 = 0x6b73_7472_6561_6d31;
const ZIPF_WORDS: usize = 10_000;
const UNIFORM_WORDS: usize = 5_000;
const WORDS_A_LINE: usize = 10;
const JSON_BYTES: usize = 300;
const COUNTRIES: [&str; 12] = ["at", "be", "ch", "de", "dk", "es", "fi", "fr", "it", "nl", "no", "se"];
const STATE_KEYS: u64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// One 7-letter word a message, of 5,000; counted.
    Words,
    /// Ten words a line, Zipf of 10,000, about 65 bytes; split and counted.
    Lines,
    /// JSON objects of 300 bytes; those with status 200, bytes summed by country.
    Json,
    /// `lines` once more, with every lambda left to the Starlark evaluator.
    LinesStarlark,
    /// As `lines`, compressed with lz4.
    LinesLz4,
    /// As `lines`, compressed with zstd.
    LinesZstd,
    /// 10 million messages, each a key of its own, counted in one batch.
    Distinct10m,
    /// The same keys as state, 10 million of them in the end.
    State10m,
    /// An empty topic: what a job costs that has nothing to do.
    Idle,
    /// 200 messages a second over 200 partitions, one-second batches.
    Light200,
    /// 1,000 messages a second, 50 ms batches.
    Fast50,
    /// A million keys of state, 100,000 of them updated in each one-second batch.
    State1m,
}

/// Messages that come while a job runs.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Messages that lie there before.
    pub backlog: u64,
    pub messages_a_second: u64,
    pub seconds: u64,
}

impl Workload {
    pub fn name(self) -> &'static str {
        match self {
            Workload::Words => "words",
            Workload::Lines => "lines",
            Workload::Json => "json",
            Workload::LinesStarlark => "lines-starlark",
            Workload::LinesLz4 => "lines-lz4",
            Workload::LinesZstd => "lines-zstd",
            Workload::Distinct10m => "distinct10m",
            Workload::State10m => "state10m",
            Workload::Idle => "idle",
            Workload::Light200 => "light200",
            Workload::Fast50 => "fast50",
            Workload::State1m => "state1m",
        }
    }

    /// The name in topics; workloads of one name read the same messages.
    pub fn topic(self) -> &'static str {
        match self {
            Workload::State10m => Workload::Distinct10m.name(),
            Workload::LinesStarlark => Workload::Lines.name(),
            other => other.name(),
        }
    }

    pub fn partitions(self) -> i32 {
        match self {
            Workload::Light200 => 200,
            _ => 4,
        }
    }

    /// Whether the bare consumer and the reference do it too.
    pub fn is_compared(self) -> bool {
        !matches!(self, Workload::Distinct10m | Workload::State10m | Workload::LinesStarlark)
    }

    pub fn pace(self) -> Option<Pace> {
        let (backlog, messages_a_second) = match self {
            Workload::Light200 => (0, 200),
            Workload::Fast50 => (0, 1_000),
            Workload::State1m => (STATE_KEYS, 100_000),
            _ => return None,
        };
        Some(Pace { backlog, messages_a_second, seconds: 20 })
    }

    /// Whether kstream's own forms of common lambdas are switched off.
    pub fn is_evaluated(self) -> bool {
        self == Workload::LinesStarlark
    }

    pub fn codec(self) -> &'static str {
        match self {
            Workload::LinesLz4 => "lz4",
            Workload::LinesZstd => "zstd",
            _ => "none",
        }
    }

    /// The job below `scripts/bench/jobs/`.
    pub fn job(self) -> &'static str {
        match self {
            Workload::Words => "words",
            Workload::Lines | Workload::LinesStarlark | Workload::LinesLz4 | Workload::LinesZstd => "lines",
            Workload::Json => "json",
            Workload::Idle => "words",
            Workload::Distinct10m => "distinct",
            Workload::State10m | Workload::State1m => "state",
            Workload::Light200 => "light",
            Workload::Fast50 => "fast",
        }
    }

    pub fn default_messages(self) -> u64 {
        match self {
            Workload::Words => 5_000_000,
            Workload::Distinct10m | Workload::State10m => 10_000_000,
            Workload::Idle => 0,
            _ => 2_000_000,
        }
    }
}

/// The messages of a topic, in order, and the right answer to what is asked of them.
pub struct Messages {
    workload: Workload,
    random: Random,
    vocabulary: Vec<String>,
    /// Cumulated weights of the vocabulary; empty where every word is as likely.
    cumulated: Vec<f64>,
    counts: Vec<u64>,
    written: u64,
}

impl Messages {
    pub fn new(workload: Workload) -> Messages {
        let vocabulary: Vec<String> = match workload {
            Workload::Words | Workload::Idle => (0..UNIFORM_WORDS).map(|idx| word(idx, 7)).collect(),
            Workload::Light200 => (0..UNIFORM_WORDS).map(|idx| word(idx, 7)).collect(),
            Workload::Json => COUNTRIES.iter().map(|&country| country.to_owned()).collect(),
            Workload::Distinct10m | Workload::State10m | Workload::State1m | Workload::Fast50 => Vec::new(),
            _ => (0..ZIPF_WORDS).map(|idx| word(idx, 3 + idx * 7 % 6)).collect(),
        };
        let cumulated = match workload {
            Workload::Lines | Workload::LinesStarlark | Workload::LinesLz4 | Workload::LinesZstd => (1..=ZIPF_WORDS)
                .scan(0.0, |sum, rank| {
                    *sum += 1.0 / rank as f64;
                    Some(*sum)
                })
                .collect(),
            _ => Vec::new(),
        };
        let counts = vec![0; vocabulary.len()];
        Messages { workload, random: Random(SEED), vocabulary, cumulated, counts, written: 0 }
    }

    /// Writes the next message into `text`.
    pub fn next(&mut self, text: &mut String) {
        text.clear();
        match self.workload {
            Workload::Json => self.next_json(text),
            Workload::Words | Workload::Light200 | Workload::Idle => self.next_word(text),
            Workload::Distinct10m | Workload::State10m | Workload::Fast50 => {
                let _ = write!(text, "{}", self.written);
            }
            Workload::State1m => {
                let _ = write!(text, "{}", self.written % STATE_KEYS);
            }
            _ => {
                for nth in 0..WORDS_A_LINE {
                    if 0 < nth {
                        text.push(' ');
                    }
                    self.next_word(text);
                }
            }
        }
        self.written += 1;
    }

    fn next_word(&mut self, text: &mut String) {
        let idx = match self.cumulated.last() {
            None => self.random.below(self.vocabulary.len() as u64) as usize,
            Some(total) => {
                let at = self.random.fraction() * total;
                self.cumulated.partition_point(|sum| *sum <= at).min(self.vocabulary.len() - 1)
            }
        };
        self.counts[idx] += 1;
        text.push_str(&self.vocabulary[idx]);
    }

    fn next_json(&mut self, text: &mut String) {
        let country = self.random.below(COUNTRIES.len() as u64) as usize;
        let status = [200, 200, 200, 304, 404, 500][self.random.below(6) as usize];
        let bytes = self.random.below(100_000);
        let (id, user) = (self.random.below(u64::MAX), self.random.below(1_000_000));
        if status == 200 {
            self.counts[country] += bytes;
        }
        let name = COUNTRIES[country];
        let _ = write!(
            text,
            r#"{{"id":"{id:016x}","user":{user},"status":{status},"country":"{name}","bytes":{bytes},"path":"/a/b","note":""#
        );
        while text.len() < JSON_BYTES - 2 {
            text.push((b'a' + self.random.below(26) as u8) as char);
        }
        text.push_str("\"}");
    }

    /// The right answer for all messages so far.
    pub fn truth(&self) -> Counts {
        match self.workload {
            Workload::Fast50 => return (0..self.written).map(|nth| (nth.to_string(), 1)).collect(),
            // How often a key was seen for the first time, how often for the second, and so on.
            Workload::Distinct10m | Workload::State10m => return Counts::from([("1".to_owned(), self.written)]),
            Workload::State1m => {
                let times = (0..self.written.div_ceil(STATE_KEYS))
                    .map(|before| ((before + 1).to_string(), (self.written - before * STATE_KEYS).min(STATE_KEYS)));
                return times.collect();
            }
            _ => {}
        }
        let found = self.vocabulary.iter().zip(&self.counts).filter(|(_, count)| 0 < **count);
        found.map(|(word, count)| (word.clone(), *count)).collect()
    }
}

/// A word of `length` letters of its own for each number below 26^length: an odd factor without 13 permutes those numbers.
fn word(number: usize, length: usize) -> String {
    let all = 26_u64.pow(length as u32);
    let mut left = (number as u64 * 7_321_569 + 4_711) % all;
    let letters = (0..length).map(|_| {
        let letter = char::from(b'a' + (left % 26) as u8);
        left /= 26;
        letter
    });
    letters.collect()
}

/// xorshift64*: small, fast, the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
