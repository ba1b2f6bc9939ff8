//! The text of `kstream explain`.
