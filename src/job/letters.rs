//! Dead letters of a job of a checkpoint: how their topics are reached today, and what their files are called.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    operator::Step,
    path::resolved,
    setting::OnError,
    spec::{Job, SourceSpec},
    whereabouts::within,
};

impl Job {
    /// The brokers of today for topics of dead letters, where they stand in the same place of `connection`.
    pub(super) fn letters_like(&self, connection: &Job) -> BTreeMap<(String, Option<String>), Option<String>> {
        let of_source = |source: &SourceSpec| {
            let current = connection.sources.iter().find(|current| current.name == source.name);
            (source.on_error.clone(), current.and_then(|current| current.on_error.clone()))
        };
        let of_step = |step: &Step| {
            let current = connection.steps.iter().find(|current| current.id == step.id);
            (step.on_error.clone(), current.and_then(|current| current.on_error.clone()))
        };
        let of_job = (Some(self.on_error.clone()), Some(connection.on_error.clone()));
        let places =
            [of_job].into_iter().chain(self.sources.iter().map(of_source)).chain(self.steps.iter().map(of_step));
        let letters_at = places.filter_map(|place| match place {
            (
                Some(OnError::DeadLetterTopic { topic, brokers }),
                Some(OnError::DeadLetterTopic { topic: current, brokers: now }),
            ) if topic == current => Some(((topic, brokers), now)),
            _ => None,
        });
        letters_at.collect()
    }

    /// A path as the job file names it, wherever the job ran and runs.
    pub fn as_named(&self, path: &Path) -> PathBuf {
        let inner = match path.is_relative() {
            true => within(&self.directory, &self.absolute(path)),
            false => self.ran.inner(path),
        };
        inner.map_or_else(|| self.absolute(path), PathBuf::from)
    }

    /// What a path that this job names leads to.
    pub fn place(&self, path: &Path) -> PathBuf {
        resolved(&self.absolute(path))
    }

    /// A path in the directory of this job, without that.
    pub fn relative(&self, path: &Path) -> Option<PathBuf> {
        within(&self.directory, path).map(PathBuf::from)
    }
}
