//! Waiting for the brokers of an output: tried until the limit, told once.

use std::time::{Duration, Instant};

use super::{
    drain::Drain,
    engine::sink_failed,
    error::{Class, DriverError},
};
use crate::sink::{SinkError, SinkErrorKind};

const FIRST_BACK_OFF: Duration = Duration::from_millis(200);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// How long an output's brokers may be away, and who may end the wait before.
pub struct Patience<'a> {
    pub drain: &'a mut Drain,
    pub limit: Duration,
}

impl Patience<'_> {
    /// Calls until it succeeds, fails for another reason, or the limit has passed. One WARN when it begins to wait.
    pub fn ask<T>(&mut self, output: &str, mut call: impl FnMut() -> Result<T, SinkError>) -> Result<T, DriverError> {
        let began = Instant::now();
        let (mut back_off, mut warned) = (FIRST_BACK_OFF, false);
        loop {
            let error = match call() {
                Ok(answer) => {
                    if warned {
                        tracing::info!(output, away_ms = began.elapsed().as_millis() as u64, "reachable again");
                    }
                    return Ok(answer);
                }
                Err(error) if error.kind == SinkErrorKind::Unreachable => error,
                Err(error) => return Err(sink_failed(output, &error)),
            };
            if began.elapsed() >= self.limit {
                let (away_s, limit_s) = (began.elapsed().as_secs(), self.limit.as_secs());
                return Err(sink_failed(output, &error)
                    .detail(format!("Its brokers were tried for {away_s} s; `unreachable_limit` is {limit_s} s.")));
            }
            if !warned {
                tracing::warn!(output, error = %error, limit_s = self.limit.as_secs(), "waiting for Kafka");
                warned = true;
            }
            if self.drain.wait(back_off) {
                return Err(DriverError::new(Class::Kafka, "asked to stop while Kafka was away")
                    .detail(format!("Output {output} had not answered.")));
            }
            back_off = (back_off * 2).min(LONGEST_BACK_OFF);
        }
    }
}
