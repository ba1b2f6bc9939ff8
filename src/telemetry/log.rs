//! Logs: `tracing` to stderr, for people or as JSON.
//!
//! The level is that of `KSTREAM_LOG` (`warn`, `debug`, or per room: `info,kstream::source=trace`), else that of the
//! `-v` and `-q` flags, else info.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use jiff::{Timestamp, tz::TimeZone};
use tracing_subscriber::{
    EnvFilter,
    filter::LevelFilter,
    fmt::{MakeWriter, format::Writer, time::FormatTime},
};

use super::bar::Bars;

/// Environment variable of the level.
pub const LEVEL_VARIABLE: &str = "KSTREAM_LOG";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Pretty,
    Json,
}

/// Milliseconds since the epoch; the driver's clock.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How to log.
pub struct LogOptions {
    pub format: LogFormat,
    /// `-v` counts up, `-q` down; 0 is info.
    pub verbosity: i8,
    /// Value of [`LEVEL_VARIABLE`].
    pub level: Option<String>,
    pub now: Now,
}

/// The level cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the log level `{level}`: {reason}")]
pub struct LevelError {
    pub level: String,
    pub reason: String,
}

/// Starts logging for the whole process. The bars it returns share stderr with the log: a log line is printed above
/// them. Called a second time, it changes nothing.
pub fn init(options: LogOptions) -> Result<Bars, LevelError> {
    let filter = filter(options.level.as_deref(), options.verbosity)?;
    let bars = Bars::on_stderr();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(StderrAboveBars(bars.clone()))
        // Where stderr takes no line (a full disk), there is nowhere to say so; saying it there would be a panic.
        .log_internal_errors(false)
        .with_ansi(stderr_has_colour() && options.format == LogFormat::Pretty);
    // A subscriber that is there already (a test's) stays.
    let _ = match options.format {
        LogFormat::Pretty => {
            builder.with_timer(Time { now: options.now, zone: Some(TimeZone::system()) }).with_target(false).try_init()
        }
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_timer(Time { now: options.now, zone: None })
            .try_init(),
    };
    Ok(bars)
}

/// Whether stderr is a terminal whose user has not asked for plain text (`NO_COLOR`).
pub fn stderr_has_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn filter(level: Option<&str>, verbosity: i8) -> Result<EnvFilter, LevelError> {
    let by_flags = match verbosity {
        ..=-2 => "error",
        -1 => "warn",
        0 => "info",
        1 => "debug",
        2.. => "trace",
    };
    let level = level.filter(|level| !level.trim().is_empty()).unwrap_or(by_flags);
    let refused = |reason: String| LevelError { level: level.to_owned(), reason };
    // The filter takes any word for the name of a room, and then shows nothing else.
    let is_word = |part: &&str| part.chars().all(|c| c.is_alphanumeric() || c == '_');
    let mut words = level.split(',').map(str::trim).filter(is_word);
    match words.find(|word| word.parse::<LevelFilter>().is_err() && !ROOMS.contains(word)) {
        Some(word) => Err(refused(format!("`{word}` is none of off, error, warn, info, debug and trace"))),
        None => EnvFilter::try_new(level).map_err(|error| refused(error.to_string())),
    }
}

/// What may stand alone, for all that it says.
const ROOMS: [&str; 2] = ["kstream", ""];

/// Wall-clock times of a zone for people, UTC for machines.
struct Time {
    now: Now,
    zone: Option<TimeZone>,
}

impl FormatTime for Time {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let now = Timestamp::from_millisecond((self.now)()).map_err(|_| fmt::Error)?;
        match &self.zone {
            Some(zone) => write!(w, "{}", now.to_zoned(zone.clone()).strftime("%H:%M:%S%.3f")),
            None => write!(w, "{now:.3}"),
        }
    }
}

/// Writes whole log lines above the bars.
struct StderrAboveBars(Bars);

impl<'a> MakeWriter<'a> for StderrAboveBars {
    type Writer = &'a StderrAboveBars;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &StderrAboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_goes_before_the_flags() {
        for (level, verbosity, expected) in [
            (None, 0, "info"),
            (None, 1, "debug"),
            (None, 5, "trace"),
            (None, -1, "warn"),
            (None, -9, "error"),
            (Some("warn"), 2, "warn"),
            (Some(" "), 2, "trace"),
            (Some("info,kstream::source=trace"), 0, "kstream::source=trace,info"),
        ] {
            assert_eq!(filter(level, verbosity).unwrap().to_string(), expected, "{level:?} {verbosity}");
        }
    }

    #[test]
    fn a_level_that_makes_no_sense_is_an_error() {
        for level in ["kstream=loud", "inof", "warn,inof", "kstream::source=trace,debgu"] {
            let error = filter(Some(level), 0).unwrap_err();
            assert!(error.to_string().starts_with(&format!("cannot read the log level `{level}`: ")), "{error}");
        }
        assert!(filter(Some("INFO"), 0).is_ok() && filter(Some("kstream,rdkafka=debug"), 0).is_ok());
    }

    #[test]
    fn times_come_from_the_given_clock() {
        let time = |zone| {
            let mut text = String::new();
            let timer = Time { now: Arc::new(|| 1_542_763_845_007), zone };
            timer.format_time(&mut Writer::new(&mut text)).unwrap();
            text
        };
        assert_eq!(time(None), "2018-11-21T01:30:45.007Z");
        assert_eq!(time(Some(TimeZone::get("Asia/Shanghai").unwrap())), "09:30:45.007");
    }
}
