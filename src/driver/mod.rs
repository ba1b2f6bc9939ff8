//! The order of things: trigger, batch loop, drain. The only room that sees all the others.
//!
//! The life of a batch is [`in_hand::Run::one_batch`]; [`run`](run()) is what surrounds it: recovery before, the next
//! trigger after. The driver decides nothing about offsets (`planner`), results (`executor`) or durability
//! (`checkpoint`, `sink`); it calls them in order and branches on how they fail.

pub mod batch;
pub mod bounded;
pub mod clock;
mod commit;
mod dead_letters;
pub mod drain;
pub mod edges;
mod edited;
mod elsewhere;
pub mod engine;
pub mod error;
pub mod failed;
pub mod fixture;
pub mod in_hand;
pub mod inputs;
mod letter_files;
mod next;
pub mod options;
mod patience;
mod progress;
pub mod recorded;
pub mod recovery;
pub mod replay;
mod reporter;
pub mod rewind;
pub mod run;
pub mod signal;
pub mod snapshot;
pub mod sources;
mod stored;
pub mod trigger;

pub use error::{Class, DriverError};
pub use run::{run, run_between};
