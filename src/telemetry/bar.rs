//! Progress bars for bounded runs and replays; never where stderr is no terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// All bars on stderr. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bars {
    multi: MultiProgress,
}

/// One bar; it disappears when it is dropped.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
}

impl Bars {
    /// Drawn only where stderr is a terminal.
    pub fn on_stderr() -> Bars {
        Bars { multi: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()) }
    }

    /// Nothing is drawn.
    pub fn hidden() -> Bars {
        Bars { multi: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()) }
    }

    pub fn are_hidden(&self) -> bool {
        self.multi.is_hidden()
    }

    /// A bar that is full at `batches` batches.
    pub fn batches(&self, verb: &str, batches: u64) -> Bar {
        let bar = self.multi.add(ProgressBar::new(batches));
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix} {wide_bar} {pos}/{len} batches, {msg} {elapsed_precise} (about {eta} left)",
        ) {
            bar.set_style(style);
        }
        bar.set_prefix(verb.to_owned());
        Bar { bar }
    }

    /// Takes the bars off the screen while `print` writes to the terminal, to stdout too.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.multi.suspend(print)
    }
}

impl Bar {
    /// One batch more, and the rate it was processed at.
    pub fn advance(&self, records_per_second: f64) {
        self.bar.set_message(format!("{} records/s,", thousands(records_per_second)));
        self.bar.inc(1);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// `1234567.8` as `1,234,568`
fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, expected) in
            [(0.0, "0"), (-1.0, "0"), (999.4, "999"), (1000.0, "1,000"), (1_234_567.8, "1,234,568")]
        {
            assert_eq!(thousands(number), expected);
        }
    }

    #[test]
    fn a_bar_counts_batches_and_goes_away() {
        let bars = Bars::hidden();
        assert!(bars.are_hidden());
        let bar = bars.batches("replay", 3);
        bar.advance(10.0);
        assert_eq!(bar.bar.position(), 1);
        let handle = bar.bar.clone();
        drop(bar);
        assert!(handle.is_finished());
    }
}
