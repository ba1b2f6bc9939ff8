//! native
mod aborted;
mod batch;
mod chunk;
mod compression;
mod failure;
#[cfg(test)]
mod made;
mod record_set;
mod records;
mod scram;
mod settings;
mod shape;
mod tls;
mod varint;
