//! Looks up the inputs of every step and follows the slides: names, circles, windows, outputs.

use std::{collections::HashMap, sync::Arc};

use super::{
    circle, destination,
    mistake::{JOB_FILE, Mistake, Span},
    name::{Named, ordinal_id},
    operator::{Input, Step},
    operator_table::OPERATORS,
    quantity::duration_text,
    reader::{Reader, report_unknown_name, start_of_file},
    written::{ReadSource, ReadStep, ReadWindow, title},
};

/// The steps of the job, with inputs; only meaningful if no mistake was reported.
pub fn resolve(
    reader: &mut Reader<'_>,
    sources: &[ReadSource],
    read: Vec<ReadStep>,
    batch_interval_ms: Option<i64>,
) -> Vec<Step> {
    let names = names(reader, sources, &read);
    let inputs: Vec<Vec<Link>> =
        read.iter().enumerate().map(|(idx, step)| inputs(reader, sources, &names, idx, step)).collect();
    let whole = report_circles(reader, &read, &inputs);
    let mut read = read;
    if let Some(interval) = batch_interval_ms.filter(|_| whole) {
        Slides { interval, known: vec![Slide::Unknown; read.len()] }.follow(reader, &mut read, &inputs);
    }
    report_no_output(reader, &read);
    destination::report_shared(reader, &read);
    warn_of_unused(reader, sources, &read, &inputs);
    circle::warn_of_own_topics(reader, sources, &read);
    circle::report_read_letters(reader, sources);
    let ids = ids(&read);
    check_was(reader, &read, &ids);
    warn_of_unnamed_state(reader, &read);
    let line = |span: &Span| match reader.origins.get(span.origin).filter(|_| span.origin == JOB_FILE) {
        Some(origin) => 1 + origin.raw.bytes().take(span.range.start).filter(|byte| *byte == b'\n').count(),
        None => 1,
    };
    let mut steps = Vec::new();
    for ((step, links), id) in read.into_iter().zip(inputs).zip(ids) {
        let Some(operator) = step.operator else { continue };
        steps.push(Step {
            id,
            named: step.name.is_some(),
            was: step.was.map(|was| Arc::from(was.name)),
            operator: operator.operator,
            inputs: links.iter().map(|link| link.input).collect(),
            on_error: step.on_error,
            line: line(&step.span),
        });
    }
    steps
}

/// An input and where the step names it (or else begins).
struct Link {
    input: Input,
    span: Span,
}

fn names(reader: &mut Reader<'_>, sources: &[ReadSource], read: &[ReadStep]) -> HashMap<String, Input> {
    let mut names: HashMap<String, Input> = HashMap::new();
    for (idx, source) in sources.iter().enumerate() {
        names.insert(source.name.to_string(), Input::Source(idx));
    }
    for (idx, step) in read.iter().enumerate() {
        let Some(name) = &step.name else { continue };
        let message = match names.get(&name.name) {
            Some(Input::Source(_)) => format!("`{}` is the name of a source", name.name),
            Some(Input::Step(_)) => format!("another step is named `{}`", name.name),
            None => {
                names.insert(name.name.clone(), Input::Step(idx));
                continue;
            }
        };
        reader.report(Mistake::at(&name.span, message).label("this name is taken"));
    }
    names
}

fn inputs(
    reader: &mut Reader<'_>,
    sources: &[ReadSource],
    names: &HashMap<String, Input>,
    idx: usize,
    step: &ReadStep,
) -> Vec<Link> {
    let mut links = Vec::new();
    let look_up = |reader: &mut Reader<'_>, named: &Named| {
        let input = names.get(&named.name);
        if input.is_none() {
            let mut known: Vec<&str> = names.keys().map(String::as_str).collect();
            known.sort_unstable();
            report_unknown_name(reader, &named.span, "step or source", &named.name, known.into_iter());
        }
        input.map(|input| Link { input: *input, span: named.span.clone() })
    };
    match (&step.from, idx, sources) {
        (Some(from), _, _) => links.extend(look_up(reader, from)),
        (None, 0, [_]) => links.push(Link { input: Input::Source(0), span: step.key_span.clone() }),
        (None, 0, []) => {}
        (None, 0, [first, ..]) => {
            let mistake = Mistake::at(&step.span, "the first step does not say which source it reads");
            reader.report_absence(mistake.hint(format!("add `from = \"{}\"`", first.name)));
        }
        (None, _, _) => links.push(Link { input: Input::Step(idx - 1), span: step.key_span.clone() }),
    }
    for other in step.operator.iter().flat_map(|operator| &operator.others) {
        links.extend(look_up(reader, other));
    }
    links
}

/// Whether there are none.
fn report_circles(reader: &mut Reader<'_>, read: &[ReadStep], inputs: &[Vec<Link>]) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; read.len()];
    let mut whole = true;
    let mut reported = Vec::new();
    for root in 0..read.len() {
        // A path of (step, next input to look at); no recursion, however long the job.
        let mut path: Vec<(usize, usize)> = match marks.get(root) {
            Some(Mark::New) => vec![(root, 0)],
            _ => continue,
        };
        while let Some((step, next)) = path.last_mut() {
            let (step_idx, link) = (*step, inputs.get(*step).and_then(|links| links.get(*next)));
            *next += 1;
            if let Some(mark) = marks.get_mut(step_idx) {
                *mark = Mark::Open;
            }
            let Some(link) = link else {
                if let Some(mark) = marks.get_mut(step_idx) {
                    *mark = Mark::Done;
                }
                path.pop();
                continue;
            };
            let Input::Step(input) = link.input else { continue };
            match marks.get(input) {
                Some(Mark::New) => path.push((input, 0)),
                Some(Mark::Open) => {
                    whole = false;
                    let circle: Vec<(usize, usize)> =
                        path.iter().skip_while(|(member, _)| *member != input).copied().collect();
                    report_circle(reader, read, inputs, &circle, &mut reported);
                }
                _ => {}
            }
        }
    }
    whole
}

/// Points at the input that names a later step (or itself): without it there would be no circle.
fn report_circle(
    reader: &mut Reader<'_>,
    read: &[ReadStep],
    inputs: &[Vec<Link>],
    circle: &[(usize, usize)],
    reported: &mut Vec<Span>,
) {
    let forward = circle.iter().find_map(|(step, next)| {
        let link = inputs.get(*step)?.get(next.checked_sub(1)?)?;
        matches!(link.input, Input::Step(input) if *step <= input).then(|| link.span.clone())
    });
    let Some(span) = forward.filter(|span| !reported.contains(span)) else { return };
    let members = circle.iter().chain(circle.first()).rev().filter_map(|(member, _)| read.get(*member));
    let label = members.map(title).collect::<Vec<_>>().join(" -> ");
    reader.report(Mistake::at(&span, "these steps go in a circle").label(label));
    reported.push(span);
}

#[derive(Clone, Copy, PartialEq)]
enum Slide {
    Unknown,
    Ms(i64),
    /// Something before is wrong and reported.
    Wrong,
}

/// How often each step gives something: a window's slide goes on to all that follows it.
struct Slides {
    interval: i64,
    known: Vec<Slide>,
}

impl Slides {
    /// The graph has no circles, so that every round settles at least one step.
    fn follow(&mut self, reader: &mut Reader<'_>, read: &mut [ReadStep], inputs: &[Vec<Link>]) {
        for _round in 0..read.len() {
            let mut settled = true;
            for (idx, (step, links)) in read.iter_mut().zip(inputs).enumerate() {
                if self.known.get(idx) != Some(&Slide::Unknown) {
                    continue;
                }
                let slides: Vec<Slide> = links.iter().map(|link| self.of(link.input)).collect();
                if slides.contains(&Slide::Unknown) {
                    settled = false;
                    continue;
                }
                let slide = match slides.contains(&Slide::Wrong) || slides.is_empty() {
                    true => Slide::Wrong,
                    false => settle(reader, step, links, &slides),
                };
                if let Some(known) = self.known.get_mut(idx) {
                    *known = slide;
                }
            }
            if settled {
                break;
            }
        }
    }

    fn of(&self, input: Input) -> Slide {
        match input {
            Input::Source(_) => Slide::Ms(self.interval),
            Input::Step(idx) => self.known.get(idx).copied().unwrap_or(Slide::Wrong),
        }
    }
}

fn settle(reader: &mut Reader<'_>, step: &mut ReadStep, links: &[Link], slides: &[Slide]) -> Slide {
    let Some(Slide::Ms(own)) = slides.first().copied() else { return Slide::Wrong };
    for (link, slide) in links.iter().zip(slides) {
        if let Slide::Ms(other) = *slide
            && other != own
        {
            let key = step.key.unwrap_or("union");
            let message = format!(
                "`{key}` of streams with different slides: {} and {}",
                duration_text(own),
                duration_text(other)
            );
            reader.report(Mistake::at(&link.span, message).label(format!("slides by {}", duration_text(other))));
            return Slide::Wrong;
        }
    }
    let Some(operator) = &mut step.operator else { return Slide::Wrong };
    let Some(window) = &operator.window else { return Slide::Ms(own) };
    let Some(slide_ms) = check_window(reader, window, own) else { return Slide::Wrong };
    operator.operator.set_slide(slide_ms);
    Slide::Ms(slide_ms)
}

/// Length and slide must be multiples of the input's slide; the slide defaults to it.
fn check_window(reader: &mut Reader<'_>, window: &ReadWindow, own: i64) -> Option<i64> {
    let mut whole = true;
    let mut check = |what: &str, (ms, span): &(i64, Span)| {
        if ms % own != 0 {
            whole = false;
            let (given, own_text) = (duration_text(*ms), duration_text(own));
            let message = format!("the {what} of a window must be a multiple of its input's slide, {own_text}");
            let (below, above) = (ms / own * own, (ms / own + 1) * own);
            let hint = match below {
                0 => format!("the least is {own_text}"),
                _ => format!("{} or {} would do", duration_text(below), duration_text(above)),
            };
            reader.report(Mistake::at(span, message).label(format!("{given} is not")).hint(hint));
        }
    };
    check("length", &window.length);
    if let Some(slide) = &window.slide {
        check("slide", slide);
    }
    whole.then(|| window.slide.as_ref().map_or(own, |slide| slide.0))
}

fn report_no_output(reader: &mut Reader<'_>, read: &[ReadStep]) {
    // A step whose operator is not known may have been meant to be one.
    let is_output = |step: &ReadStep| step.key.is_none() || step.has_output;
    if !read.iter().any(is_output) {
        let mistake = Mistake::at(&start_of_file(), "nothing to execute: the job has no output");
        reader.report_absence(mistake.hint("end it with an output, like `[[steps]]` with `pprint = 10`".to_owned()));
    }
}

fn warn_of_unused(reader: &mut Reader<'_>, sources: &[ReadSource], read: &[ReadStep], inputs: &[Vec<Link>]) {
    let mut used = vec![false; read.len()];
    let mut used_sources = vec![false; sources.len()];
    let is_output = |step: &ReadStep| step.operator.as_ref().is_some_and(|operator| operator.operator.is_output());
    let mut open: Vec<usize> = (0..read.len()).filter(|idx| read.get(*idx).is_some_and(is_output)).collect();
    while let Some(idx) = open.pop() {
        match used.get_mut(idx) {
            Some(used) if !*used => *used = true,
            _ => continue,
        }
        for link in inputs.get(idx).into_iter().flatten() {
            match link.input {
                Input::Step(input) => open.push(input),
                Input::Source(source) => used_sources.iter_mut().skip(source).take(1).for_each(|used| *used = true),
            }
        }
    }
    for (source, used) in sources.iter().zip(used_sources) {
        if !used {
            let warning = Mistake::at(&source.name_span, format!("no output needs source `{}`", source.name));
            reader.warn(warning);
        }
    }
    for (step, used) in read.iter().zip(used) {
        if !used {
            reader.warn(Mistake::at(&step.key_span, format!("no output needs step {}", title(step))));
        }
    }
}

/// The step's name, else `operator#ordinal` among the unnamed ones of its operator.
fn ids(read: &[ReadStep]) -> Vec<Arc<str>> {
    let mut ordinals: HashMap<&str, usize> = HashMap::new();
    let mut id = |step: &ReadStep| match &step.name {
        Some(name) => Arc::from(name.name.as_str()),
        None => {
            let key = step.key.unwrap_or("step");
            let ordinal = ordinals.entry(key).or_default();
            *ordinal += 1;
            ordinal_id(key, *ordinal)
        }
    };
    read.iter().map(&mut id).collect()
}

fn check_was(reader: &mut Reader<'_>, read: &[ReadStep], ids: &[Arc<str>]) {
    let mut adopted: Vec<&str> = Vec::new();
    for step in read {
        let (Some(was), Some(key)) = (&step.was, step.key) else { continue };
        let is_ordinal = |text: &str| text.parse::<usize>().is_ok_and(|ordinal| 0 < ordinal);
        let stateful = step.operator.as_ref().is_none_or(|operator| operator.operator.is_stateful());
        let parts =
            was.name.split_once('#').filter(|(was_key, ordinal)| is_ordinal(ordinal) && OPERATORS.contains(was_key));
        let (message, hint) = match parts {
            _ if !stateful => (format!("`{key}` keeps no state to take over"), Some("leave `was` out".to_owned())),
            None => (format!("`{}` is no unnamed step", was.name), Some(format!("write `was = \"{key}#1\"`"))),
            Some((was_key, _)) if was_key != key => {
                (format!("`{}` cannot become `{key}`: its state has another shape", was.name), None)
            }
            Some(_) if step.name.is_none() => {
                ("`was` is for a step that now has a name".to_owned(), Some("add `name = \"...\"`".to_owned()))
            }
            Some(_) if adopted.contains(&was.name.as_str()) => {
                (format!("another step takes over the state of `{}`", was.name), None)
            }
            Some(_) if ids.iter().any(|id| **id == *was.name) => {
                (format!("`{}` is a step of this job too", was.name), Some("name that one as well".to_owned()))
            }
            Some(_) => {
                adopted.push(&was.name);
                continue;
            }
        };
        reader.report(Mistake::at(&was.span, message).hint(hint));
    }
}

fn warn_of_unnamed_state(reader: &mut Reader<'_>, read: &[ReadStep]) {
    let unnamed_state = |step: &&ReadStep| {
        step.name.is_none() && step.operator.as_ref().is_some_and(|operator| operator.operator.is_stateful())
    };
    for key in OPERATORS {
        let steps: Vec<&ReadStep> = read.iter().filter(unnamed_state).filter(|step| step.key == Some(*key)).collect();
        if let [_, second, ..] = steps.as_slice() {
            let message = format!("{} steps `{key}` keep state and have no name", steps.len());
            let hint = "name them, so that later edits can tell their state apart";
            reader.warn(Mistake::at(&second.key_span, message).hint(hint.to_owned()));
        }
    }
}
