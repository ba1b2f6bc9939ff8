//! Reads `[[steps]]`: the keys every step may have, and exactly one operator.

use super::{
    arguments::Arguments,
    fields::{Fields, meant_by, report_unknown_key},
    mistake::Mistake,
    name::{Named, plain_name},
    on_error::on_error,
    operator_table::{OPERATORS, read_operator},
    reader::{Reader, all_of},
    setting::OnError,
    tree::{Entry, Node, Table, Tree},
    written::{Defaults, ReadOperator, ReadStep},
};

const COMMON_KEYS: [&str; 5] = ["name", "from", "on_error", "dead_letter", "was"];

/// `None` where the steps could not be told from each other.
pub fn steps(reader: &mut Reader<'_>, node: &Node, defaults: &Defaults) -> Option<Vec<ReadStep>> {
    if let Tree::Table(table) = &node.tree {
        let mistake = Mistake::at(&table.span, "`steps` is a list of tables, found a table");
        reader.report(mistake.hint("begin each step with `[[steps]]`".to_owned()));
        // Most likely the only step; of several only the keys are left.
        if table.entries.iter().filter(|entry| OPERATORS.contains(&entry.key.as_str())).count() < 2 {
            step(reader, table, defaults);
        }
        return None;
    }
    let items = reader.list(node)?;
    let tables: Vec<Table> = items.iter().filter_map(|item| reader.table(item)).collect();
    let steps = tables.iter().map(|table| step(reader, table, defaults)).collect();
    (tables.len() == items.len()).then_some(steps)
}

fn step(reader: &mut Reader<'_>, table: &Table, defaults: &Defaults) -> ReadStep {
    let mut fields = Fields::new(table);
    let name = fields.get("name").and_then(|node| named(reader, node));
    if let Some(name) = &name {
        plain_name(reader, "step", &name.name, &name.span);
    }
    let from = fields.get("from").and_then(|node| named(reader, node));
    let was = fields.get("was").and_then(|node| named(reader, node));
    let on_error = on_error(reader, &mut fields, defaults.dead_letter.as_ref());
    let operators = operator_entries(reader, table);
    let mut step = ReadStep {
        name,
        from,
        was,
        on_error,
        operator: None,
        key: None,
        has_output: operators.iter().any(|operator| OUTPUTS.contains(&operator.key.as_str())),
        key_span: table.span.clone(),
        span: table.span.clone(),
    };
    let [first, others @ ..] = operators.as_slice() else { return step };
    if !others.is_empty() {
        let keys: Vec<&str> = operators.iter().map(|entry| entry.key.as_str()).collect();
        for other in others {
            let mistake =
                Mistake::at(&other.key_span, format!("a step is one operator, this one has {}", all_of(&keys)));
            reader.report(mistake.label("a second operator").hint("begin another `[[steps]]`".to_owned()));
        }
    }
    step.key = OPERATORS.iter().find(|key| **key == first.key).copied();
    step.key_span = first.key_span.clone();
    step.operator = operator(reader, first, defaults);
    report_idle_on_error(reader, table, &step);
    // The others are checked too, so that all their mistakes are known.
    for other in others {
        operator(reader, other, defaults);
    }
    step
}

/// A function that gets many elements at once fails for all of them: there is no single one to leave out.
fn report_idle_on_error(reader: &mut Reader<'_>, table: &Table, step: &ReadStep) {
    let gets = match step.key {
        Some("map_partitions") => "a whole partition",
        Some("transform") => "the whole batch",
        Some("reduce" | "reduce_by_window") => "two elements",
        _ => return,
    };
    let (Some(entry), Some(key)) = (table.get("on_error"), step.key) else { return };
    if matches!(step.on_error, None | Some(OnError::Fail)) {
        return;
    }
    let message = format!("`{key}` has no single element to leave out: its function gets {gets}");
    let hint = "put it on the `map`, `filter` or `flat_map` before, where each element is taken by itself; for records \
                that cannot be decoded, on the source or the job";
    reader.report(Mistake::at(&entry.key_span, message).label("a failure fails the batch").hint(hint.to_owned()));
}

fn named(reader: &mut Reader<'_>, node: &Node) -> Option<Named> {
    Some(Named { name: reader.nonempty(node)?, span: node.span.clone() })
}

/// The entries that are operators; reports keys that are nothing, and their lack.
fn operator_entries(reader: &mut Reader<'_>, table: &Table) -> Vec<Entry> {
    let (mut operators, mut meant, mut unknown) = (Vec::new(), Vec::new(), false);
    for entry in &table.entries {
        if OPERATORS.contains(&entry.key.as_str()) {
            operators.push(entry.clone());
        } else if !COMMON_KEYS.contains(&entry.key.as_str()) {
            report_unknown_step_key(reader, entry, table);
            unknown = true;
            let known: Vec<&str> = OPERATORS.iter().chain(&COMMON_KEYS).copied().collect();
            let operator = meant_by(&entry.key, &known).filter(|key| OPERATORS.contains(key));
            meant.extend(operator.map(|key| Entry { key: key.to_owned(), ..entry.clone() }));
        }
    }
    // Read as what it was meant to be, so that the mistakes in it are known too.
    if operators.is_empty() && meant.len() == 1 {
        operators = meant;
    }
    if operators.is_empty() && !unknown {
        let mistake = Mistake::at(&table.span, "this step has no operator");
        reader.report_absence(mistake.hint("add one, like `map = \"lambda x: x\"` or `pprint = 10`".to_owned()));
    }
    operators
}

const OUTPUTS: [&str; 5] = ["pprint", "save_as_text_files", "to_file", "to_kafka", "command"];

/// Keys that are arguments of an operator, and are easily written beside it.
#[rustfmt::skip]
const ARGUMENTS: [&str; 14] = [
    "partitions", "length", "slide", "func", "inverse", "to", "num", "timeout", "initial", "with", "emit", "topic",
    "path", "key",
];

fn report_unknown_step_key(reader: &mut Reader<'_>, entry: &Entry, table: &Table) {
    let operator = table.entries.iter().find(|entry| OPERATORS.contains(&entry.key.as_str()));
    match operator.filter(|_| ARGUMENTS.contains(&entry.key.as_str())) {
        Some(operator) => {
            let (key, operator) = (&entry.key, &operator.key);
            let mistake = Mistake::at(&entry.key_span, format!("`{key}` is no key of a step"));
            reader.report(mistake.hint(format!("it may be an argument: `{operator} = {{ ..., {key} = ... }}`")));
        }
        None => {
            let known: Vec<&str> = OPERATORS.iter().chain(&COMMON_KEYS).copied().collect();
            report_unknown_key(reader, entry, &known);
        }
    }
}

fn operator(reader: &mut Reader<'_>, entry: &Entry, defaults: &Defaults) -> Option<ReadOperator> {
    if let Tree::Bool(false) = entry.node.tree {
        let mistake = Mistake::at(&entry.node.span, format!("`{} = false` does nothing", entry.key));
        reader.report(mistake.hint("remove the step".to_owned()));
        return None;
    }
    let mut arguments = Arguments::new(reader, entry)?;
    let operator = read_operator(reader, &mut arguments, &entry.key, defaults);
    arguments.finish(reader);
    operator
}
