//! A Rust file as far as the rules look: code without comments, strings and tests; the rooms it names.

use std::collections::BTreeSet;

/// The text without comments, the contents of strings and characters, and the tests at its end.
pub fn code_of(text: &str) -> String {
    let text = without_tests(text);
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        at = match (c, next) {
            ('/', Some('/')) => position(&chars, at, |rest| rest[0] == '\n'),
            ('/', Some('*')) => end_of_block_comment(&chars, at),
            ('r', Some('"' | '#')) if !code.ends_with(is_word) => match end_of_raw_string(&chars, at) {
                Some(end) => end,
                None => {
                    code.push(c);
                    at + 1
                }
            },
            ('"', _) => end_of_string(&chars, at),
            // A character, not a lifetime: 'x' or '\...'.
            ('\'', Some('\\')) => position(&chars, at + 3, |rest| rest[0] == '\'') + 1,
            ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
            _ => {
                code.push(c);
                at + 1
            }
        };
    }
    code
}

/// The text up to its tests: `#[cfg(test)]`, perhaps other attributes, then a module with a body.
fn without_tests(text: &str) -> &str {
    let is_tests = |at: usize| {
        let mut rest = text[at..].trim_start();
        while rest.starts_with("#[") {
            rest = rest.split_once(']').map_or("", |(_, rest)| rest.trim_start());
        }
        rest.starts_with("mod ")
            && rest.split_once(['{', ';']).is_some_and(|(head, _)| rest[head.len()..].starts_with('{'))
    };
    text.match_indices("#[cfg(test)]").map(|(at, _)| at).find(|at| is_tests(*at)).map_or(text, |end| &text[..end])
}

/// The identifiers of a piece of code.
pub fn words_of(code: &str) -> BTreeSet<&str> {
    code.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()).collect()
}

/// The rooms a file names by `crate::room` or within `crate::{ ... }`.
pub fn rooms_used(text: &str) -> BTreeSet<String> {
    let code = code_of(text);
    let mut rooms = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| is_word(c) || c == '$') {
            continue;
        }
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(heads_of(group)),
            None => {
                rooms.insert(head_of(rest));
            }
        }
    }
    rooms.into_iter().filter(|room| room.starts_with(|c: char| c.is_ascii_lowercase())).collect()
}

/// The first identifier of each item of a `use` group, up to its closing brace.
fn heads_of(group: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut items = vec![String::new()];
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ => {}
        }
        if let Some(item) = items.last_mut()
            && c != ','
        {
            item.push(c);
        }
    }
    items.iter().map(|item| head_of(item.trim_start())).collect()
}

fn head_of(path: &str) -> String {
    path.chars().take_while(|c| is_word(*c)).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The first place from `from` on where `found` holds, else the end.
fn position(chars: &[char], from: usize, found: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|&at| found(&chars[at..])).unwrap_or(chars.len())
}

fn end_of_block_comment(chars: &[char], from: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = from;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(&c) = chars.get(at) {
        match c {
            '"' => return at + 1,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of `r"..."` or `r#"..."#` beginning at `from`; `None` for a raw identifier.
fn end_of_raw_string(chars: &[char], from: usize) -> Option<usize> {
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    let open = from + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes =
        |rest: &[char]| rest[0] == '"' && rest[1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    Some(position(chars, open + 1, closes) + 1 + hashes)
}

mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_no_code() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(code_of(text), expected, "{text}");
        }
        check("a // b\nc", "a \nc");
        check("a /* b /* c */ d */ e", "a  e");
        check(r#"a("b \" c", d)"#, "a(, d)");
        check("a(r#\"b \" c\"#, d)", "a(, d)");
        check("a('\"', b, '\\'', c::<'static>)", "a(, b, , c::<'static>)");
        check("r#type", "r#type");
        check("a\n#[cfg(test)]\nmod tests {\n b }", "a\n");
        check("a\n#[cfg(test)]\n#[allow(x)]\nmod tests { b }", "a\n");
        check("#[cfg(test)]\nmod other;\na", "#[cfg(test)]\nmod other;\na");
        check("#[cfg(test)]\nuse a;\nmod b {}", "#[cfg(test)]\nuse a;\nmod b {}");
    }

    #[test]
    fn rooms_are_found_in_groups_over_several_lines() {
        let text = "use crate::{\n    expr::{Function, Library},\n    model::TopicPartition,\n    source,\n};\nfn f() { crate::driver::run() }\n";
        assert_eq!(rooms_used(text).into_iter().collect::<Vec<_>>(), ["driver", "expr", "model", "source"]);
    }
}
