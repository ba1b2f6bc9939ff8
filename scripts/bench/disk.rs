//! How long the disk takes to make a write durable: every durable commit pays it.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    time::Instant,
};

const WRITES: usize = 100;
const BYTES: usize = 4096;

/// The median of an append of 4 KiB and its fsync, in milliseconds.
pub fn fsync_p50_ms(dir: &Path) -> io::Result<f64> {
    let path = dir.join("fsync");
    let mut file = File::create(&path)?;
    let mut taken_ms = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let begun = Instant::now();
        file.write_all(&[7; BYTES])?;
        file.sync_data()?;
        taken_ms.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    fs::remove_file(&path)?;
    taken_ms.sort_by(f64::total_cmp);
    Ok(taken_ms[WRITES / 2])
}
