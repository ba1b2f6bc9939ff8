//! Moving by key: the map-side table of a task, and its merge over all tasks, shuffle partition by shuffle partition.
//!
//! A task folds its topic partition into one [`CombineTable`]; [`merge::by_partition`] cuts the tables of all tasks by
//! the partitioning hash and merges them in task order, in parallel. Nothing here depends on threads, chunk sizes or
//! hash seeds: tables hand out their keys in key order only.

pub mod accumulator;
pub mod combine;
pub mod fold;
pub mod key_table;
pub mod merge;
pub mod str_table;

pub use combine::CombineTable;
pub use key_table::KeyTable;
