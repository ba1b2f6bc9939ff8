//! Random inputs for the parsers of kstream: `scripts/fuzz`.
//!
//! Each target runs in a process of its own, with a limit on its memory, that writes down every input before it tries it:
//! a panic, an abort, an overflow of the stack, an input that takes longer than ten seconds or more memory than the limit
//! ends that process, and the input is kept in `target/fuzz`. There is no feedback from coverage.

mod mutate;
mod record_sets;
mod targets;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, exit},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use mutate::Dice;
use targets::{TARGETS, Target, next_input};

const SLOWEST: Duration = Duration::from_secs(10);
const MEMORY_KIB: u64 = 3 << 20;
/// Findings of one target after which it is left alone.
const MOST_FINDINGS: usize = 5;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["--child", name, seed, seconds, input] => child(name, seed, seconds, Path::new(input)),
        ["--seconds", seconds] => fuzz(TARGETS.iter().collect(), seconds),
        ["--seconds", seconds, name] => fuzz(vec![target(name)], seconds),
        [name, input] => {
            let bytes = fs::read(input).unwrap_or_else(|error| usage(&format!("{input}: {error}")));
            (target(name).run)(&bytes);
            println!("{name}: {input} passes");
            ExitCode::SUCCESS
        }
        _ => usage("scripts/fuzz [--seconds N [TARGET]], or scripts/fuzz TARGET FILE"),
    }
}

fn usage(message: &str) -> ! {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    eprintln!("{message}\ntargets: {}", names.join(", "));
    exit(2)
}

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| usage(&format!("no target {name}")))
}

fn fuzz(targets: Vec<&Target>, seconds: &str) -> ExitCode {
    let Ok(limit) = seconds.parse().map(Duration::from_secs) else { usage("seconds are a number") };
    let dir = PathBuf::from(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into())).join("fuzz");
    fs::create_dir_all(&dir).expect("target/fuzz");
    let this = env::current_exe().expect("this program");
    let mut all = 0;
    for target in targets {
        let began = Instant::now();
        let mut findings = 0;
        while began.elapsed() < limit && findings < MOST_FINDINGS {
            let seed = fresh_seed();
            let left = (limit - began.elapsed()).as_secs().max(1).to_string();
            let input = dir.join(format!("{}-current", target.name));
            // The shell sets the limit: `unsafe` would otherwise be needed.
            let script = format!("ulimit -v {MEMORY_KIB}; exec \"$@\"");
            let mut child = Command::new("sh");
            child.args(["-c", &script, "sh"]).arg(&this).args(["--child", target.name, &seed.to_string(), &left]);
            let status = child.arg(&input).status().expect("sh");
            if !status.success() {
                findings += 1;
                let kept = dir.join(format!("{}-{seed:016x}", target.name));
                fs::rename(&input, &kept).expect("the input of a finding");
                println!("{}: {status} with {}", target.name, kept.display());
            }
        }
        all += findings;
    }
    if all > 0 {
        println!("{all} findings");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("fuzz")
}

/// Tries inputs until the time is up.
fn child(name: &str, seed: &str, seconds: &str, input: &Path) -> ExitCode {
    static TRIED: AtomicU64 = AtomicU64::new(0);
    let target = target(name);
    let (Ok(seed), Ok(seconds)) = (seed.parse(), seconds.parse()) else { usage("numbers") };
    thread::spawn(|| {
        loop {
            let before = TRIED.load(Ordering::Relaxed);
            thread::sleep(SLOWEST);
            if TRIED.load(Ordering::Relaxed) == before {
                eprintln!("an input takes longer than {SLOWEST:?}");
                exit(3);
            }
        }
    });
    let corpus = (target.corpus)();
    let mut dice = Dice::new(seed);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    for bytes in &corpus {
        fs::write(input, bytes).expect("write");
        (target.run)(bytes);
        TRIED.fetch_add(1, Ordering::Relaxed);
    }
    while Instant::now() < deadline {
        let bytes = next_input(target, &mut dice, &corpus);
        fs::write(input, &bytes).expect("write");
        (target.run)(&bytes);
        TRIED.fetch_add(1, Ordering::Relaxed);
    }
    println!("{name}: {} inputs, none failed; seed {seed}", TRIED.load(Ordering::Relaxed));
    ExitCode::SUCCESS
}
