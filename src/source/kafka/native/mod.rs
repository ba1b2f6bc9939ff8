//! native
mod aborted;
mod batch;
mod chunk;
mod compression;
#[cfg(test)]
mod made;
mod record_set;
mod records;
mod varint;
