//! The integration tests, one module an area.

mod cli;
mod signal;
