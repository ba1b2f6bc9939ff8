//! What people, disks and machines do to a job: secrets, directories that cannot be used, full disks, small limits, clutter,
//! time that passes while nothing runs.

mod clutter;
mod directories;
mod full_disk;
mod limits;
mod output;
mod secrets;
mod time;

use std::process::{Command, Stdio};

use super::support::{COUNTED, Place, START_MS};

fn bounded() -> String {
    format!("run job.toml --until-caught-up --manual-clock {START_MS}")
}

/// A command of the shell in this directory, with `kstream` as `$0`.
fn shell(place: &Place, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_kstream")]).current_dir(place.path("")).stdin(Stdio::null());
    for name in ["KSTREAM_BROKERS", "KSTREAM_LOG", "KSTREAM_CHUNK_RECORDS", "KSTREAM_LAMBDAS"] {
        command.env_remove(name);
    }
    command
}

/// `lines` lines of some words on an embedded broker, `partitions` of them, into what `steps` say.
fn embedded(place: &Place, lines: usize, partitions: usize, source: &str, steps: &str) {
    let line = |at: usize| format!("all w{} w{} w{}\n", at % 7, at % 101, (at * 31) % 997);
    place.write("lines.txt", (0..lines).map(line).collect::<String>());
    place.write(
        "job.toml",
        format!(
            r#"
name = "people"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "kafka"
brokers = "embedded"
topics = ["words"]
{source}
[source.embedded]
lines = "lines.txt"
rate = 1_000_000_000
partitions = {partitions}
{steps}
"#
        ),
    );
}
