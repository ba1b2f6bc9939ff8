//! The integration tests, one module an area.

mod broker;
mod native;
mod scripted_broker;
