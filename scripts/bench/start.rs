//! How long a job takes to its first planned batch: from the start of its process, on a broker that is warm.

use std::{
    error::Error,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use kstream::{checkpoint::Archive, model::BatchId};

/// Runs the job, which must commit at least one batch and end, and looks up when that batch was durably planned.
pub fn to_first_plan_ms(command: &mut Command, checkpoint: &Path) -> Result<f64, Box<dyn Error>> {
    let started_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as f64 / 1000.0;
    let status = command.status()?;
    if !status.success() {
        return Err(format!("{command:?} ended with {status}").into());
    }
    let ledger = Archive::open(checkpoint)?.ledger(BatchId::FIRST..=BatchId::FIRST)?;
    let first = ledger.first().ok_or("no batch was planned")?;
    Ok(first.plan.planned_at_ms as f64 - started_ms)
}
