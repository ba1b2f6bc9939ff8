//! Names of steps and sources.

use std::sync::Arc;

use super::{
    mistake::{Mistake, Span},
    reader::Reader,
};

/// A name as it is written in a step.
#[derive(Debug, Clone)]
pub struct Named {
    pub name: String,
    pub span: Span,
}

/// Names of steps and sources have no dots: `--set steps.NAME.key` takes dots apart.
pub fn plain_name(reader: &mut Reader<'_>, what: &str, name: &str, span: &Span) -> bool {
    let legal = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-');
    if !name.is_empty() && name.chars().all(legal) {
        return true;
    }
    let mistake = Mistake::at(span, format!("`{name}` cannot be the name of a {what}"));
    reader.report(mistake.hint("use letters, digits, `-` and `_`".to_owned()));
    false
}

/// `operator#ordinal` of a step without name.
pub fn ordinal_id(key: &str, ordinal: usize) -> Arc<str> {
    Arc::from(format!("{key}#{ordinal}"))
}
