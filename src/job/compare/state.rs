//! Steps that keep state: which one of the new job goes on with which one's state of the old.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        operator::{Input, Operator, Step, WindowSpec},
        quantity::duration_text,
        spec::Job,
    },
    Difference, Verdict, allowed, drops, is_timed, state_of,
};

/// The steps that take over the state of another one by this edit: their ids, and that one's. A `was` that stood there
/// already has done its work.
pub fn taken_over(old: &Job, new: &Job) -> Vec<(String, String)> {
    let stateful = |job: &Job, id: &str| job.steps.iter().any(|step| *step.id == *id && step.operator.is_stateful());
    let taken = new.steps.iter().filter_map(|step| {
        let was = step.was.as_deref()?;
        let is_spent = old.steps.iter().any(|before| before.id == step.id && before.was.as_deref() == Some(was));
        (!is_spent && stateful(old, was)).then(|| (step.id.to_string(), was.to_owned()))
    });
    taken.collect()
}

/// The stateful steps without name, by operator.
fn unnamed_state(job: &Job) -> BTreeMap<&'static str, Vec<&Step>> {
    let mut found: BTreeMap<_, Vec<&Step>> = BTreeMap::new();
    for step in job.steps.iter().filter(|step| !step.named && step.operator.is_stateful()) {
        found.entry(step.operator.name()).or_default().push(step);
    }
    found
}

/// The step of `old` whose state each step of `new` goes on with, by their ids. One that is not named begins without state: it
/// is new, its state has another shape or counts another time, or nobody knows which one it is.
pub fn heirs(old: &Job, new: &Job) -> BTreeMap<String, String> {
    let taken = taken_over(old, new);
    let unclear: Vec<&str> = unclear(old, new).into_iter().map(|unclear| unclear.operator).collect();
    let mut heirs = BTreeMap::new();
    for after in new.steps.iter().filter(|step| step.operator.is_stateful()) {
        let was = taken.iter().find(|(taker, _)| **taker == *after.id).map(|(_, was)| was.as_str());
        let id = was.unwrap_or(&after.id);
        let goes_on = |before: &&Step| {
            *before.id == *id
                && before.operator.is_stateful()
                && other_shape(before, after).is_none()
                && (old.batch_interval_ms == new.batch_interval_ms || !is_timed(&before.operator))
                && (was.is_some() || taken.iter().all(|(_, was)| *was != *before.id))
        };
        let is_clear = was.is_some() || after.named || !unclear.contains(&after.operator.name());
        if is_clear && old.steps.iter().any(|before| goes_on(&before)) {
            heirs.insert(after.id.to_string(), id.to_owned());
        }
    }
    heirs
}

/// Steps known only by their ordinal: the state of one must not become another's unnoticed.
pub fn compare_unnamed_state(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    for Unclear { operator, steps, texts } in unclear(old, new) {
        let ids: Vec<String> = steps.iter().map(|id| format!("`was = \"{id}\"`")).collect();
        let hint = format!("name the steps `{operator}`, and say which takes over which state: {}", ids.join(", "));
        let verdict = || Verdict::Refused { hint: hint.clone() };
        differences.extend(texts.into_iter().map(|text| Difference { text, verdict: verdict() }));
    }
}

/// Why nobody knows which of the unnamed steps of an operator is which one of before.
struct Unclear<'a> {
    operator: &'static str,
    /// Those of before, by their ids.
    steps: Vec<&'a str>,
    texts: Vec<String>,
}

fn unclear<'a>(old: &'a Job, new: &Job) -> Vec<Unclear<'a>> {
    let mut found = Vec::new();
    let current = unnamed_state(new);
    let taken = taken_over(old, new);
    for (operator, before) in unnamed_state(old) {
        let after = current.get(operator).map(Vec::as_slice).unwrap_or_default();
        let left: Vec<&Step> =
            before.into_iter().filter(|step| !taken.iter().any(|(_, was)| *was == *step.id)).collect();
        let newly_named = new.steps.iter().any(|step| {
            step.named
                && step.was.is_none()
                && step.operator.name() == operator
                && !old.steps.iter().any(|before| before.id == step.id)
        });
        let all_gone = after.is_empty() && !newly_named;
        if left.len() != after.len() {
            if !all_gone && !left.is_empty() {
                let text = format!("the number of unnamed steps `{operator}` was {}, is {}", left.len(), after.len());
                found.push(Unclear { operator, steps: left.iter().map(|step| &*step.id).collect(), texts: vec![text] });
            }
            continue;
        }
        let (were, are) = (Around::each(old, &left), Around::each(new, after));
        let has_another = were.iter().zip(&are).zip(&left).filter(|((was, is), _)| was.has_another_input(is));
        let mut texts: Vec<String> =
            has_another.map(|(_, step)| format!("step `{}` has another input", step.id)).collect();
        if texts.is_empty() && Around::have_changed_places(&were, &are) {
            texts.push(format!("the unnamed steps `{operator}` stand in another order"));
        }
        if !texts.is_empty() {
            found.push(Unclear { operator, steps: left.iter().map(|step| &*step.id).collect(), texts });
        }
    }
    found
}

/// A step that is known only by its ordinal, by what stands around it.
struct Around<'a> {
    /// What it does, whole, and its functions alone.
    does: Written,
    functions: Written,
    above: Upstream<'a>,
    /// The named steps that it is an input of, through others without a name.
    below: BTreeSet<&'a str>,
}

impl<'a> Around<'a> {
    fn each(job: &'a Job, steps: &[&'a Step]) -> Vec<Around<'a>> {
        let named = job.steps.iter().filter(|step| step.named);
        let named: Vec<_> = named.map(|step| (&*step.id, Upstream::of(job, step))).collect();
        let around = |step: &&'a Step| Around {
            does: Written(vec![job.operator_text(&step.operator)]),
            functions: Written(functions(&step.operator).into_iter().map(str::to_owned).collect()),
            above: Upstream::of(job, step),
            below: named.iter().filter(|(_, above)| above.unnamed.contains(&*step.id)).map(|(id, _)| *id).collect(),
        };
        steps.iter().map(around).collect()
    }

    /// Other sources or states, or one named step instead of another one.
    fn has_another_input(&self, now: &Around<'_>) -> bool {
        let (was, is) = (&self.above, &now.above);
        was.origins != is.origins || (!was.named.is_subset(&is.named) && !is.named.is_subset(&was.named))
    }

    fn have_changed_places(before: &[Around<'_>], after: &[Around<'_>]) -> bool {
        fn of<'s, T>(steps: &'s [Around<'_>], part: impl Fn(&'s Around<'_>) -> T) -> Vec<T> {
            steps.iter().map(part).collect()
        }
        Written::have_moved(&of(before, |step| &step.does), &of(after, |step| &step.does))
            || Written::have_moved(&of(before, |step| &step.functions), &of(after, |step| &step.functions))
            || Written::have_moved(&of(before, |step| &step.above.texts), &of(after, |step| &step.above.texts))
            || went_round(&of(before, |step| &step.below), &of(after, |step| &step.below))
    }
}

/// Texts of functions and steps. White space in them is of their layout, or of a string.
#[derive(Default, PartialEq, Eq)]
struct Written(Vec<String>);

impl Written {
    fn dense(&self) -> Vec<String> {
        self.0.iter().map(|text| text.split_whitespace().collect()).collect()
    }

    /// Whether they have changed places, whatever their layout is; and of those that differ in white space alone, by that.
    fn have_moved(before: &[&Written], after: &[&Written]) -> bool {
        let dense = |places: &[&Written]| -> Vec<_> { places.iter().map(|written| written.dense()).collect() };
        let (were, are) = (dense(before), dense(after));
        let alike = |places: &[&'_ Written]| -> Vec<Vec<String>> {
            let kept = places.iter().zip(were.iter().zip(&are)).filter(|(_, (was, is))| was == is);
            kept.map(|(written, _)| written.0.clone()).collect()
        };
        moved(&were, &are) || moved(&alike(before), &alike(after))
    }
}

/// Whether what stood at one place stands at another one now, and is no longer where it stood.
fn moved<T: PartialEq>(before: &[T], after: &[T]) -> bool {
    let changed = || before.iter().zip(after).filter(|(was, is)| was != is);
    changed().any(|(_, is)| changed().any(|(was, _)| was == is))
}

/// Whether names went from one place to the next in a circle, of two places or more.
fn went_round(before: &[&BTreeSet<&str>], after: &[&BTreeSet<&str>]) -> bool {
    let went = |from: usize, to: usize| {
        let (left, entered) = (|name| !after[from].contains(name), |name| !before[to].contains(name));
        before[from].iter().any(|name| left(name) && entered(name) && after[to].contains(name))
    };
    let mut on_a_way: Vec<usize> = (0..before.len().min(after.len())).collect();
    loop {
        let go_on: Vec<usize> =
            on_a_way.iter().copied().filter(|&from| on_a_way.iter().any(|&to| went(from, to))).collect();
        if go_on.len() == on_a_way.len() {
            return !go_on.is_empty();
        }
        on_a_way = go_on;
    }
}

/// What the input of a step comes through, back to sources and named stateful steps.
#[derive(Default)]
struct Upstream<'a> {
    /// Those sources and steps.
    origins: Vec<String>,
    /// Names of the steps between.
    named: BTreeSet<&'a str>,
    /// The steps between that keep state and have no name.
    unnamed: BTreeSet<&'a str>,
    /// What the steps between do.
    texts: Written,
}

impl<'a> Upstream<'a> {
    fn of(job: &'a Job, step: &Step) -> Upstream<'a> {
        let mut found = Upstream::default();
        let mut seen = vec![false; job.steps.len()];
        let mut open: Vec<Input> = step.inputs.iter().rev().copied().collect();
        while let Some(input) = open.pop() {
            match input {
                Input::Source(idx) => {
                    found.origins.extend(job.sources.get(idx).map(|source| format!("source {}", source.name)));
                }
                Input::Step(idx) => {
                    let Some(step) = job.steps.get(idx) else { continue };
                    if std::mem::replace(seen.get_mut(idx).unwrap_or(&mut true), true) {
                        continue;
                    }
                    let is_stateful = step.operator.is_stateful();
                    if step.named && is_stateful {
                        found.origins.push(format!("step {}", step.id));
                        continue;
                    }
                    match (step.named, is_stateful) {
                        (true, _) => found.named.insert(&step.id),
                        (false, true) => found.unnamed.insert(&step.id),
                        (false, false) => false,
                    };
                    found.texts.0.push(job.operator_text(&step.operator));
                    open.extend(step.inputs.iter().rev().copied());
                }
            }
        }
        found
    }
}

/// Texts of the functions of a stateful operator.
fn functions(operator: &Operator) -> Vec<&str> {
    match operator {
        Operator::UpdateStateByKey { func, .. } | Operator::MapWithState { func, .. } => vec![func.source()],
        Operator::ReduceByWindow { func, inverse, .. } => {
            std::iter::once(func).chain(inverse).map(|func| func.source()).collect()
        }
        Operator::ReduceByKeyAndWindow { func, inverse, filter, .. } => {
            std::iter::once(func).chain(inverse).chain(filter).map(|func| func.source()).collect()
        }
        _ => Vec::new(),
    }
}

pub fn compare_state(old: &Job, new: &Job, differences: &mut Vec<Difference>) {
    let taken = taken_over(old, new);
    for before in old.steps.iter().filter(|step| step.operator.is_stateful()) {
        let id = &before.id;
        let taker = taken.iter().find(|(_, was)| **was == **id).map(|(taker, _)| taker.as_str());
        let itself = taken.iter().all(|(taker, _)| **taker != **id).then_some(&**id);
        let heir = taker.or(itself).and_then(|heir| new.steps.iter().find(|step| *step.id == *heir));
        let lost = vec![state_of(before)];
        let Some(after) = heir else {
            let refused = !before.named && differences.iter().any(|d| matches!(d.verdict, Verdict::Refused { .. }));
            if !refused {
                let text = match itself {
                    Some(_) => format!("step `{id}` is gone"),
                    None => format!("the state of step `{id}` gives way to another one"),
                };
                differences.push(drops(text, lost));
            }
            continue;
        };
        if after.id != *id {
            differences.push(allowed(format!("step `{}` takes over the state of `{id}`", after.id)));
        }
        if let Some(text) = other_shape(before, after) {
            differences.push(drops(text, lost));
        }
    }
    for step in new.steps.iter().filter(|step| step.operator.is_stateful() && step.was.is_none()) {
        if !old.steps.iter().any(|before| before.id == step.id) {
            differences.push(allowed(format!("step `{}` is new, and begins without state", step.id)));
        }
    }
}

/// Why the state of one cannot go on as the state of the other.
fn other_shape(before: &Step, after: &Step) -> Option<String> {
    let id = &before.id;
    let (a, b) = (&before.operator, &after.operator);
    if a.name() != b.name() {
        return Some(format!("step `{id}` was `{}`, is `{}`", a.name(), b.name()));
    }
    if let (Some(was), Some(is)) = (a.window(), b.window())
        && was != is
    {
        let show = |window: WindowSpec| {
            format!("length {} and slide {}", duration_text(window.length_ms), duration_text(window.slide_ms))
        };
        return Some(format!("the window of step `{id}` had {}, has {}", show(was), show(is)));
    }
    if let (Some(was), Some(is)) = (a.partitions(), b.partitions())
        && was != is
    {
        return Some(format!("step `{id}` had {was} shuffle partitions, has {is}"));
    }
    if has_inverse(a) != has_inverse(b) {
        let (gone, come) = ("lost its inverse function", "got an inverse function");
        return Some(format!("step `{id}` {}", if has_inverse(a) { gone } else { come }));
    }
    None
}

fn has_inverse(operator: &Operator) -> bool {
    matches!(
        operator,
        Operator::ReduceByWindow { inverse: Some(_), .. } | Operator::ReduceByKeyAndWindow { inverse: Some(_), .. }
    )
}
