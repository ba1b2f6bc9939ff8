//! The cases that kstream does not answer as the file says, each with its reason. Nothing else is left out.

/// One case.
pub struct Exception {
    pub id: &'static str,
    pub why: Why,
    pub reason: &'static str,
}

pub enum Why {
    /// Scala and Python differ, and kstream gives Python's batches (`python_divergence` of the case).
    Python,
    /// Decided differently on purpose: these batches (JSON) are expected.
    Batches(&'static str),
    /// Decided differently on purpose: a test of its own, called by id, holds what is expected.
    Test,
    /// Needs a feature of a later version. The test shows that it is not there: a job that has this in its source and
    /// step is refused with these words.
    Later { source: &'static str, step: &'static str, refusal: &'static str },
}

use Why::{Batches, Later, Python, Test};

const FILE_SOURCE: Why =
    Later { source: "kind = \"file\"\npath = \"in\"", step: "pprint = true", refusal: "unknown value `file`" };
const CONSOLE: Why = Later {
    source: "kind = \"queue\"\npath = \"queue.jsonl\"",
    step: "console = true",
    refusal: "unknown key `console`",
};

pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        id: "probe.wordcount",
        why: Python,
        reason: "str.split keeps trailing empty words in Python; the JVM drops them",
    },
    Exception {
        id: "probe.reduceByWindow.inv",
        why: Python,
        reason: "an empty window of reduce_by_window is nothing, with an inverse too",
    },
    Exception {
        id: "sc.rbkw_inv.big_test",
        why: Python,
        reason: "a key leaves when its window has no record; kstream counts them",
    },
    Exception {
        id: "sc.rbkw_inv.key_removed",
        why: Python,
        reason: "a key leaves when its window has no record; kstream counts them",
    },
    Exception {
        id: "probe.countByWindow.leading_empty",
        why: Batches("[[0], [0], [2], [2], [0], [0]]"),
        reason: "count_by_window is one record from the first batch on, as count of an empty batch is 0",
    },
    Exception {
        id: "sc.updateStateByKey.batch_time",
        why: Test,
        reason: "the update function takes the new values and the state, no time; map_with_state holds timeouts",
    },
    Exception { id: "context.slice", why: Test, reason: "a slice is a replay of committed batches, by id" },
    Exception { id: "timer.ticks", why: Test, reason: "missed ticks are not queued: one batch starts at once" },
    Exception {
        id: "timer.graceful_stop_one_more",
        why: Test,
        reason: "a run asked to drain commits the batch in flight and begins no further one",
    },
    Exception { id: "source.queue.all", why: Test, reason: "a line of a queue file is a batch, never several" },
    Exception { id: "format.print.scala", why: Test, reason: "pprint prints as PySpark does, byte for byte" },
    Exception {
        id: "format.save_as_text_files",
        why: Test,
        reason: "_SUCCESS is not empty: it says whose batch the directory holds",
    },
    Exception {
        id: "lifecycle.failure_reasons",
        why: Test,
        reason: "a failing output fails the batch; nothing later runs; a restart repeats the same ranges",
    },
    Exception {
        id: "lifecycle.rules",
        why: Test,
        reason: "one process runs one job and keeps its checkpoint always: only rules about starting and failing apply",
    },
    Exception {
        id: "format.console_sink",
        why: CONSOLE,
        reason: "the console sink prints data frames, which come with structured streaming",
    },
    Exception {
        id: "source.file.new_only",
        why: FILE_SOURCE,
        reason: "a file source, which watches a directory for new files",
    },
    Exception {
        id: "source.text_files.int",
        why: FILE_SOURCE,
        reason: "a file source, which watches a directory for new files",
    },
];
