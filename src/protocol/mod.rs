//! The commit protocol as pure code: the states of a batch, the permit to publish, the recovery decision.

/// Proof that the batch's plan is durable and its sinks were asked; only the protocol builds one.
#[derive(Debug)]
pub struct PublishPermit {
    _private: (),
}
