//! `--set KEY=VALUE` and `--brokers`: values of the command line take the place of values of the file.

use super::{
    mistake::{BROKERS_FLAG, Mistake, Span},
    reader::{Origin, Reader, all_of},
    suggest::did_you_mean,
    tree::{Entry, Node, Table, Tree},
};

/// What the command line says about a job.
#[derive(Clone, Default)]
pub struct Overrides {
    /// Brokers of all kafka sources.
    pub brokers: Option<String>,
    /// Dotted keys (quotes allowed; `steps.NAME` and `sources.NAME` by name) and their values.
    pub set: Vec<(String, String)>,
}

/// Without the values: one may be a secret.
impl std::fmt::Debug for Overrides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = self.set.iter().map(|(key, _)| key);
        f.debug_struct("Overrides").field("brokers", &self.brokers).field("set", &keys.collect::<Vec<_>>()).finish()
    }
}

pub fn apply(reader: &mut Reader<'_>, root: &mut Table, overrides: &Overrides) {
    if let Some(brokers) = &overrides.brokers {
        set_brokers(reader, root, brokers);
    }
    for (key, value) in &overrides.set {
        set(reader, root, key, value);
    }
}

fn set_brokers(reader: &mut Reader<'_>, root: &mut Table, brokers: &str) {
    let origin = reader.origins.len();
    reader.origins.push(Origin { name: BROKERS_FLAG.to_owned(), raw: brokers.to_owned() });
    let span = Span::new(origin, 0..brokers.len());
    let entry = |span: &Span| Entry {
        key: "brokers".to_owned(),
        key_span: span.clone(),
        node: Node { span: span.clone(), tree: Tree::Untyped(brokers.to_owned()) },
    };
    let mut kafka_sources = 0;
    for node in source_nodes(root) {
        if let Tree::Table(table) = &mut node.tree
            && !matches!(table.get("kind").map(|kind| &kind.node.tree), Some(Tree::Text(kind)) if kind == "queue")
        {
            table.set(entry(&span));
            kafka_sources += 1;
        }
    }
    if kafka_sources == 0 {
        reader.report_absence(Mistake::at(&span, "the job has no kafka source"));
    }
}

fn source_nodes(root: &mut Table) -> Vec<&mut Node> {
    let mut nodes = Vec::new();
    for entry in &mut root.entries {
        match (entry.key.as_str(), &mut entry.node) {
            ("source", node) => nodes.push(node),
            ("sources", Node { tree: Tree::Table(sources), .. }) => {
                nodes.extend(sources.entries.iter_mut().map(|entry| &mut entry.node));
            }
            _ => {}
        }
    }
    nodes
}

/// A part of a dotted key.
struct Part {
    text: String,
    span: Span,
}

fn set(reader: &mut Reader<'_>, root: &mut Table, key: &str, value: &str) {
    let origin = reader.origins.len();
    reader.origins.push(Origin { name: "--set".to_owned(), raw: format!("{key}={value}") });
    let parts = match parts(key, origin) {
        Ok(parts) => parts,
        Err(mistake) => return reader.report(mistake),
    };
    let value_span = Span::new(origin, key.len() + 1..key.len() + 1 + value.len());
    let value = Node { span: value_span, tree: Tree::Untyped(value.to_owned()) };
    if let Err(mistake) = put(root, &parts, value) {
        reader.report(mistake);
    }
}

fn put(root: &mut Table, parts: &[Part], value: Node) -> Result<(), Mistake> {
    let [first, rest @ ..] = parts else { return Ok(()) };
    match (first.text.as_str(), rest) {
        ("steps", [name, rest @ ..]) if !rest.is_empty() => put_into(step(root, name)?, rest, value),
        ("steps", _) => Err(Mistake::at(&first.span, "a step is set by its name: `steps.NAME.KEY`")),
        _ => put_into(root, parts, value),
    }
}

/// The step that is named so.
fn step<'t>(root: &'t mut Table, name: &Part) -> Result<&'t mut Table, Mistake> {
    let name_of = |node: &Node| match &node.tree {
        Tree::Table(table) => table.get("name").and_then(|entry| match &entry.node.tree {
            Tree::Text(text) => Some(text.clone()),
            _ => None,
        }),
        _ => None,
    };
    let items = match root.get_mut("steps").map(|entry| &mut entry.node.tree) {
        Some(Tree::List(items)) => items.as_mut_slice(),
        _ => &mut [],
    };
    let names: Vec<Option<String>> = items.iter().map(name_of).collect();
    let found = items.iter_mut().zip(&names).find(|(_, found)| found.as_deref() == Some(&name.text));
    match found {
        Some((Node { tree: Tree::Table(table), .. }, _)) => Ok(table),
        _ => {
            let names: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
            let hint = did_you_mean(&name.text, names.iter().copied()).or_else(|| {
                Some(match names.as_slice() {
                    [] => "give the step a `name` in the job file; none has one".to_owned(),
                    names => format!("give the step a `name` in the job file; named are {}", all_of(names)),
                })
            });
            Err(Mistake::at(&name.span, format!("no step is named `{}`", name.text)).hint(hint))
        }
    }
}

fn put_into(table: &mut Table, parts: &[Part], value: Node) -> Result<(), Mistake> {
    let [first, rest @ ..] = parts else { return Ok(()) };
    if rest.is_empty() {
        table.set(Entry { key: first.text.clone(), key_span: first.span.clone(), node: value });
        return Ok(());
    }
    if table.get(&first.text).is_none() {
        let empty = Tree::Table(Table { span: first.span.clone(), entries: Vec::new() });
        let node = Node { span: first.span.clone(), tree: empty };
        table.set(Entry { key: first.text.clone(), key_span: first.span.clone(), node });
    }
    let Some(entry) = table.get_mut(&first.text) else { return Ok(()) };
    match &mut entry.node.tree {
        Tree::Table(inner) => put_into(inner, rest, value),
        other => {
            let message = format!("`{}` is {}, not a table", first.text, other.describe());
            Err(Mistake::at(&first.span, message).hint(format!("set the whole of it: `{}={{ ... }}`", first.text)))
        }
    }
}

/// `a."b.c".'d'` has three parts.
fn parts(key: &str, origin: usize) -> Result<Vec<Part>, Mistake> {
    let wrong = |at: usize| {
        let mistake = Mistake::at(&Span::new(origin, at..at + 1), "this is no dotted key");
        mistake.hint("write `--set KEY=VALUE`, with dots between the parts of the key".to_owned())
    };
    let mut parts = Vec::new();
    let mut at = 0;
    loop {
        let rest = key.get(at..).unwrap_or_default();
        let quote = rest.chars().next().filter(|char| matches!(char, '"' | '\''));
        let (text, length) = match quote {
            Some(quote) => {
                let inside = rest.get(1..).unwrap_or_default();
                let (inside, _) = inside.split_once(quote).ok_or_else(|| wrong(at))?;
                (inside, inside.len() + 2)
            }
            None => {
                let word = rest.split('.').next().unwrap_or_default();
                (word.trim(), word.len())
            }
        };
        if text.is_empty() {
            return Err(wrong(at));
        }
        parts.push(Part { text: text.to_owned(), span: Span::new(origin, at..at + length) });
        at += length;
        match key.as_bytes().get(at) {
            None => return Ok(parts),
            Some(b'.') => at += 1,
            Some(_) => return Err(wrong(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, expected: Option<&[&str]>) {
        let parts = parts(key, 0).ok().map(|parts| parts.into_iter().map(|part| part.text).collect::<Vec<_>>());
        let expected = expected.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(parts, expected, "{key}");
    }

    #[test]
    fn dotted_keys_come_apart_at_their_dots_and_not_within_quotes() {
        check("name", Some(&["name"]));
        check("sources.left.topics", Some(&["sources", "left", "topics"]));
        check("source.properties.\"security.protocol\"", Some(&["source", "properties", "security.protocol"]));
        check("'a.b'.c", Some(&["a.b", "c"]));
        for wrong in ["", ".", "a.", ".a", "a..b", "\"a", "\"a\"b", "\"\""] {
            check(wrong, None);
        }
    }
}
