//! The durable log behind the protocol, as the protocol needs it.

use super::{CommitRecord, PlanRecord, StateWrites};

/// Version of the checkpoint format this program writes; it reads all from 1 up to this one.
pub const FORMAT: u32 = 1;

/// Makes facts durable. Each call is one transaction; when it returns, a crash no longer undoes it.
///
/// After an error nothing is known about what is durable: an implementation refuses every later call.
pub trait Store {
    type Error: std::error::Error + 'static;

    /// The batch now exists. Its job text must have been stored before.
    fn log_planned(&mut self, plan: &PlanRecord) -> Result<(), Self::Error>;

    /// The batch in flight has another plan: same id and time, less to read.
    fn replace_plan(&mut self, plan: &PlanRecord) -> Result<(), Self::Error>;

    /// The batch is done, and the next one, if given, now exists.
    fn log_committed(
        &mut self,
        commit: &CommitRecord,
        state: &StateWrites,
        next: Option<&PlanRecord>,
    ) -> Result<(), Self::Error>;
}
