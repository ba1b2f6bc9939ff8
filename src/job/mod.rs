//! Job files: text to a validated [`Job`], every mistake with line and column, all at once.
//!
//! `cli` calls [`load_for_run`] for every subcommand that takes a job file ([`load()`] where nothing is run); `driver` stores [`Job::text`] with each plan, brings
//! jobs back with [`Job::from_text`] and asks [`compare()`] what an edit means for the checkpoint.
//!
//! ```text
//! file, --set, --brokers -> tree (positions) -> reader (types) -> source, step (keys) -> graph (names, slides) -> Job
//! ```
//!
//! A returned job is whole: every lambda compiled, every name resolved, every default filled in. A job with a mistake is
//! never returned, and the error holds all mistakes, not the first. No connection is made and nothing is written; files
//! that are read are the job file, `[functions] file`, those whose hash is part of the job, and the secrets of a job that is
//! going to be run. What a job *means* (stages, shuffles) is `lineage`'s business; what Kafka's client says of its properties
//! comes from whoever loads it ([`KafkaClient`]).

mod arguments;
mod circle;
mod client;
mod compare;
mod content;
mod destination;
mod displaced;
mod fields;
mod graph;
mod input_file;
mod letters;
mod load;
mod mistake;
mod name;
mod on_error;
mod operator;
mod operator_table;
mod overlap;
mod overrides;
mod path;
mod places;
mod property;
mod quantity;
mod reader;
mod recorded;
mod secret;
mod setting;
mod source;
mod spec;
mod start;
mod step;
mod suggest;
mod synonym;
mod syntax;
mod text;
mod topics;
mod tree;
mod whereabouts;
mod written;

pub use client::{KafkaClient, Refusal, Side};
pub use compare::{Difference, Dropped, Verdict, compare, heirs, taken_over};
pub use content::Content;
pub use destination::is_rotation;
pub use displaced::{Displaced, Writer};
pub use input_file::reason;
pub use load::{JobError, JobText, load, load_for_run, load_for_test, load_inline, neighbour};
pub use mistake::{Colour, Mistake, Mistakes, Span, Text, Warning};
pub use operator::*;
pub use overrides::Overrides;
pub use path::resolved;
pub use places::Places;
pub use property::instead_of;
pub use quantity::{Unfit, duration_ms, size_bytes};
pub use secret::is_secret;
pub use setting::*;
pub use spec::*;
pub use start::parse_start;
pub use topics::{is_topic_name, other_protocol, parse_brokers, pattern_text};
pub use whereabouts::{Ran, Whereabouts};
