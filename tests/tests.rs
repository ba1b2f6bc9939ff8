//! The integration tests, one module an area.

mod broker;
mod differential;
mod native;
mod scripted_broker;
