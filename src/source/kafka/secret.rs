//! Properties whose value is kept elsewhere: read from the environment or a file, at the last moment.

use crate::{job::Setting, source::SourceError};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SettingsError {
    pub message: String,
    pub hint: String,
}

impl SettingsError {
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> SettingsError {
        SettingsError { message: message.into(), hint: hint.into() }
    }
}

impl From<SettingsError> for SourceError {
    fn from(error: SettingsError) -> SourceError {
        SourceError::refused(error.message, error.hint)
    }
}

/// The value of a property, read from where it is kept.
pub fn read_setting(name: &str, setting: &Setting) -> Result<String, SettingsError> {
    match setting {
        Setting::Literal(value) => Ok(value.clone()),
        Setting::SecretEnv(variable) => std::env::var(variable).map_err(|_| {
            let message = format!("the environment variable {variable} of property '{name}' is not set");
            SettingsError::new(message, format!("Set {variable} before the start."))
        }),
        Setting::SecretFile(path) => {
            let secret = std::fs::read_to_string(path).map_err(|error| {
                let message = format!("cannot read {} for property '{name}': {error}", path.display());
                SettingsError::new(message, "Check the path and who may read it.")
            })?;
            warn_if_readable_by_others(path);
            Ok(secret.trim_end_matches(['\r', '\n']).to_owned())
        }
    }
}

#[cfg(unix)]
fn warn_if_readable_by_others(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0) {
        tracing::warn!(file = %path.display(), "the secret's file can be read by everybody");
    }
}

#[cfg(not(unix))]
fn warn_if_readable_by_others(_path: &std::path::Path) {}
