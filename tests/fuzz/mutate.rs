//! Inputs made of other inputs: flips, cuts, splices, repeats, words of a dictionary, numbers at the edges.

/// Pseudo-random numbers of one seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

const EDGES: &[&str] = &[
    "0",
    "-1",
    "1",
    "127",
    "255",
    "256",
    "65536",
    "2147483647",
    "-2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1e308",
    "1e999",
    "-0.0",
    "0x7fffffff",
    "999999999999999999999999999999",
];

/// Longest input: what grows beyond it is cut.
pub const LONGEST: usize = 1 << 16;

/// A few random changes of `input`; `others` is what it can be spliced with.
pub fn mutate(dice: &mut Dice, input: &[u8], others: &[Vec<u8>], dictionary: &[&str]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=dice.below(5) {
        change(dice, &mut bytes, others, dictionary);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>, others: &[Vec<u8>], dictionary: &[&str]) {
    let at = dice.below(bytes.len() + 1);
    let len = dice.below(16.min(bytes.len() - at) + 1);
    match dice.below(12) {
        0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        1 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..at + len)),
        4 => splice(bytes, at, 0, &[dice.below(256) as u8]),
        5 => {
            let piece = bytes[at..at + len].to_vec();
            let times = [1, 2, 10, 1000][dice.below(4)];
            splice(bytes, at, 0, &piece.repeat(times));
        }
        6 | 7 => {
            let word = dice.pick(dictionary).copied().unwrap_or_default();
            splice(bytes, at, if dice.below(2) == 0 { 0 } else { len }, word.as_bytes());
        }
        8 => {
            let edge = dice.pick(EDGES).copied().unwrap_or_default();
            let digits = bytes.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count();
            splice(bytes, at, digits, edge.as_bytes());
        }
        9 => {
            if let Some(other) = dice.pick(others) {
                let from = dice.below(other.len() + 1);
                let upto = from + dice.below(other.len() - from + 1);
                splice(bytes, at, len, &other[from..upto]);
            }
        }
        10 => {
            // A number as a length or a count of the wire: big-endian, at its edges.
            let number = [0u64, 1, 0x7F, 0xFF, 0x7FFF_FFFF, 0xFFFF_FFFF, u64::MAX >> 1, u64::MAX][dice.below(8)];
            let width = [1, 2, 4, 8][dice.below(4)];
            let raw = &number.to_be_bytes()[8 - width..];
            let over = width.min(bytes.len() - at);
            bytes[at..at + over].copy_from_slice(&raw[..over]);
        }
        _ => {
            let open = ["[", "(", "{\"a\":", "-", "not ", "lambda x: ", "[[", "\"", "\\"][dice.below(9)];
            splice(bytes, at, 0, open.repeat(1 + dice.below(3000)).as_bytes());
        }
    }
}

fn splice(bytes: &mut Vec<u8>, at: usize, over: usize, with: &[u8]) {
    if bytes.len() + with.len() <= 2 * LONGEST {
        bytes.splice(at..(at + over).min(bytes.len()), with.iter().copied());
    }
}
