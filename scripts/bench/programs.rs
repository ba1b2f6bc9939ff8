//! How the programs of this repository are started: kstream on one of the jobs beside this file, and the bench itself.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use crate::workload::Workload;

#[derive(Debug, clap::Args)]
pub struct Programs {
    #[arg(long)]
    pub brokers: String,
    /// The kstream binary.
    #[arg(long)]
    kstream: PathBuf,
    /// The core the programs run on.
    #[arg(long)]
    pin: Option<usize>,
}

impl Programs {
    pub fn threads(&self) -> usize {
        if self.pin.is_some() { 1 } else { thread::available_parallelism().map_or(1, usize::from) }
    }

    /// `kstream run` on one of the jobs.
    pub fn kstream(&self, workload: Workload, topic: &str, checkpoint: &Path, log: &Path) -> Command {
        let job = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bench/jobs").join(workload.job());
        let mut command = self.command(&self.kstream);
        command.arg("run").arg(job.with_extension("toml")).args(["--threads", &self.threads().to_string()]);
        command.env("KSTREAM_BROKERS", &self.brokers).env("BENCH_TOPIC", topic);
        command.env("BENCH_CHECKPOINT", checkpoint).env("BENCH_LOG", log);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        match workload.is_evaluated() {
            true => command.env("KSTREAM_LAMBDAS", "starlark"),
            false => command.env_remove("KSTREAM_LAMBDAS"),
        };
        command
    }

    /// A program of the bench itself, `bare` or `reference`, as a process of its own.
    pub fn own(&self, name: &str, workload: Workload, topic: &str, out: &Path) -> io::Result<Command> {
        let mut command = self.command(&env::current_exe()?);
        command.arg(name).args(["--brokers", &self.brokers, "--topic", topic, "--workload", workload.name()]);
        command.arg("--threads").arg(self.threads().to_string()).arg("--out").arg(out);
        Ok(command)
    }

    /// The program, on its core where one was given. `taskset` becomes the program, so its process is measured.
    pub fn command(&self, program: &Path) -> Command {
        match self.pin {
            None => Command::new(program),
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(program);
                command
            }
        }
    }
}

/// Removes a file or a directory; it need not be there.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}
