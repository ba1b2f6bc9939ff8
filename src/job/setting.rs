//! Values that steps, sources and the job share: what becomes of poison elements, and a property that may be a secret.

use std::path::PathBuf;

/// What becomes of an element whose lambda fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnError {
    Fail,
    Skip,
    DeadLetterFile(PathBuf),
    DeadLetterTopic { topic: String, brokers: Option<String> },
}

/// A literal, or where the secret is to be read from at start. Printing one never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    Literal(String),
    SecretEnv(String),
    SecretFile(PathBuf),
}
