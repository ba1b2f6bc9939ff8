//! Windows over batch time: what each form keeps of a batch, and what it makes of a window.
//!
//! A window at grid time g (`zero + k * slide`) holds the batches with time in `(g - length, g]`. Off the grid the stream
//! yields nothing, but the batch is kept.

use std::collections::BTreeMap;

use super::{
    collect::Elements,
    count::Counter,
    group::{Group, GroupTable},
    window_fold::{CountedTable, Counting, Inverse, WindowFold},
    window_part::{by_partition, part},
};
use crate::{
    expr::Function,
    job::{Operator, WindowSpec},
    model::{Column, Value, key::Key},
    operator::{Collector, Dataset, Merge, MergeContext, Partial, StepFailure, Wide, take_all},
    shuffle::fold::Fold,
    state::window::{Part, WindowBatch, WindowState, put_batch, put_partitions},
};

/// The working part of a windowed step; `None` for steps of another shape.
pub fn window(operator: &Operator) -> Option<Box<dyn Wide>> {
    let (kind, window, partitions) = match operator {
        Operator::Window(window) => (Kind::Elements, window, 1),
        Operator::CountByWindow(window) => (Kind::Count, window, 1),
        Operator::GroupByKeyAndWindow { window, partitions } => (Kind::Lists, window, *partitions),
        Operator::CountByValueAndWindow { window, partitions } => {
            (Kind::Fold(WindowFold::counts(*window, *partitions)), window, *partitions)
        }
        Operator::ReduceByWindow { func, inverse, window } => {
            (Kind::Fold(WindowFold::whole(func, inverse.as_ref(), *window)), window, 1)
        }
        Operator::ReduceByKeyAndWindow { func, inverse, filter, window, partitions } => {
            let fold = WindowFold::by_key(func, inverse.as_ref(), filter.as_ref(), *window, *partitions);
            (Kind::Fold(fold), window, *partitions)
        }
        _ => return None,
    };
    Some(Box::new(Window { kind, spec: *window, partitions: partitions as usize }))
}

struct Window {
    kind: Kind,
    spec: WindowSpec,
    partitions: usize,
}

enum Kind {
    /// Every element, in the partitions it came in; its key is the number of its partition.
    Elements,
    Count,
    /// All values of a key, oldest batch first.
    Lists,
    /// One folded value a key.
    Fold(WindowFold),
}

impl Window {
    /// What this batch brings.
    fn parts(&self, inputs: Vec<Vec<Partial>>, context: &MergeContext<'_>) -> Result<Vec<Part>, StepFailure> {
        let partials: Vec<Partial> = inputs.into_iter().flatten().collect();
        match &self.kind {
            Kind::Elements => {
                let numbered = take_all::<Vec<Value>>(partials)?.into_iter().zip(0i64..);
                numbered
                    .flat_map(|(values, number)| values.into_iter().map(move |value| (number, value)))
                    .map(|(number, value)| part(Value::Int(number), value, 1))
                    .collect()
            }
            Kind::Count => {
                let count: usize = take_all::<usize>(partials)?.into_iter().sum();
                let part = part(Value::None, Value::Int(count as i64), count as u64);
                if count == 0 { Ok(Vec::new()) } else { Ok(vec![part?]) }
            }
            Kind::Lists => {
                take_all::<GroupTable>(partials)?.into_iter().try_fold(Vec::new(), |mut parts, mut table| {
                    let mut entries = table.keys.entries();
                    entries.sort_unstable_by_key(|entry| entry.number);
                    for entry in entries {
                        let list = std::mem::take(&mut table.lists[entry.number as usize]);
                        let records = list.len() as u64;
                        parts.push(part(entry.key.value(), Value::list(list), records)?);
                    }
                    Ok(parts)
                })
            }
            Kind::Fold(fold) => fold.parts(take_all::<CountedTable>(partials)?, context),
        }
    }

    /// The windows that are no folds, made anew from their batches.
    fn contents(
        &self,
        batches: &[&WindowBatch],
        partitions: BTreeMap<i64, usize>,
        context: &MergeContext<'_>,
    ) -> Result<Dataset, StepFailure> {
        Ok(match &self.kind {
            Kind::Elements => elements(batches, partitions),
            Kind::Count => {
                let records: u64 = batches.iter().flat_map(|batch| &batch.parts).map(|part| part.records).sum();
                Dataset::single(vec![Value::Int(records as i64)])
            }
            Kind::Lists => lists(batches, self.partitions, context),
            Kind::Fold(_) => Dataset::default(),
        })
    }
}

/// The elements of all batches, oldest first, each batch in its own partitions (one where their number is not known).
fn elements(batches: &[&WindowBatch], mut counts: BTreeMap<i64, usize>) -> Dataset {
    for batch in batches {
        counts.entry(batch.time_ms).or_insert(1);
    }
    let mut batches = batches.iter().peekable();
    let mut partitions = Vec::new();
    for (time_ms, count) in counts {
        let mut own: Vec<Vec<Value>> = vec![Vec::new(); count];
        while let Some(batch) = batches.next_if(|batch| batch.time_ms <= time_ms) {
            for part in &batch.parts {
                let number = match part.key.value() {
                    Value::Int(number) => usize::try_from(*number).unwrap_or(0),
                    _ => 0,
                };
                if let Some(partition) = own.get_mut(number) {
                    partition.push(part.value.clone());
                }
            }
        }
        partitions.extend(own.into_iter().map(|values| vec![Column::from_values(values)]));
    }
    if partitions.is_empty() {
        partitions.push(Vec::new());
    }
    Dataset { partitions }
}

/// Per key, the values of all batches, oldest first.
fn lists(batches: &[&WindowBatch], partitions: usize, context: &MergeContext<'_>) -> Dataset {
    let mut lists: hashbrown::HashMap<&Key, Vec<Value>> = hashbrown::HashMap::new();
    for part in batches.iter().flat_map(|batch| &batch.parts) {
        if let Value::List(values) = &part.value {
            lists.entry(&part.key).or_default().extend_from_slice(values);
        }
    }
    let pairs = lists.into_iter().map(|(key, values)| (key.clone(), Value::list(values))).collect();
    by_partition(pairs, partitions, context)
}

impl Wide for Window {
    fn collector(&self, input: usize) -> Box<dyn Collector> {
        match &self.kind {
            Kind::Elements => Box::new(Elements::default()),
            Kind::Count => Box::new(Counter::default()),
            Kind::Lists => Group::by_key(self.partitions as u32).collector(input),
            Kind::Fold(fold) => Box::new(fold.collector()),
        }
    }

    /// Measured (tests/memory/merges.rs): elements 0.7 to 1.9, groups 1.2 to 1.9, folds 1.2 to 3.1, those with an inverse,
    /// which change a running fold besides, 1.6 to 5.1.
    fn merge_factor(&self) -> u64 {
        match &self.kind {
            Kind::Elements | Kind::Count | Kind::Lists => 2,
            Kind::Fold(fold) if fold.inverse.is_none() => 3,
            Kind::Fold(_) => 5,
        }
    }

    /// Measured: elements 0.2 to 0.9, groups 1.0 to 1.5, folds anew 1.4 to 2.6, running ones 0.3 to 0.6.
    fn state_factor(&self) -> u64 {
        match &self.kind {
            Kind::Elements | Kind::Count => 1,
            Kind::Lists => 2,
            Kind::Fold(fold) if fold.inverse.is_none() => 3,
            Kind::Fold(_) => 1,
        }
    }

    fn merge(&self, inputs: Vec<Vec<Partial>>, context: &MergeContext<'_>) -> Result<Merge, StepFailure> {
        let empty = WindowState::default();
        let state = context.state.and_then(|state| state.as_any().downcast_ref::<WindowState>()).unwrap_or(&empty);
        let now_ms = context.batch_time_ms;
        let came_in = inputs.iter().map(Vec::len).sum::<usize>();
        let batch = WindowBatch { time_ms: now_ms, parts: self.parts(inputs, context)? };
        let on_grid = (now_ms - context.zero_ms) % self.spec.slide_ms == 0;
        let mut delta = Vec::new();
        if let Kind::Fold(fold) = &self.kind
            && fold.inverse.is_some()
        {
            let (dataset, grid_ms) = fold.advance(state, &batch, on_grid, context, &mut delta)?;
            let horizon_ms = grid_ms.unwrap_or(i64::MIN / 2) - self.spec.length_ms;
            put_batch(&mut delta, &batch, horizon_ms);
            return Ok(Merge { dataset, delta: Some(delta) });
        }
        let from_ms = now_ms - self.spec.length_ms;
        if let Kind::Elements = self.kind {
            put_partitions(&mut delta, now_ms, came_in);
        }
        put_batch(&mut delta, &batch, from_ms);
        if !on_grid {
            return Ok(Merge { dataset: None, delta: Some(delta) });
        }
        let mut batches: Vec<&WindowBatch> = state.between(from_ms, now_ms).collect();
        batches.push(&batch);
        let dataset = match &self.kind {
            Kind::Fold(fold) => fold.whole_window(&batches, context)?,
            _ => {
                let partitions = state.partitions_between(from_ms, now_ms).chain([(now_ms, came_in)]).collect();
                self.contents(&batches, partitions, context)?
            }
        };
        Ok(Merge { dataset: Some(dataset), delta: Some(delta) })
    }
}

impl WindowFold {
    fn counts(window: WindowSpec, partitions: u32) -> Self {
        Self {
            fold: Fold::count(),
            inverse: Some(Inverse::Counts),
            filter: None,
            counting: Counting::Elements,
            window,
            partitions: partitions as usize,
        }
    }

    fn whole(func: &Function, inverse: Option<&Function>, window: WindowSpec) -> Self {
        Self { counting: Counting::Whole, ..Self::by_key(func, inverse, None, window, 1) }
    }

    fn by_key(
        func: &Function,
        inverse: Option<&Function>,
        filter: Option<&Function>,
        window: WindowSpec,
        partitions: u32,
    ) -> Self {
        Self {
            fold: Fold::of(func),
            inverse: inverse.cloned().map(Inverse::Function),
            filter: filter.cloned(),
            counting: Counting::Pairs,
            window,
            partitions: partitions as usize,
        }
    }
}
