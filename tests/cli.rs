//! The command line as its users see it: help, usage errors and exit codes, as snapshots under `tests/cli/`.
//!
//! `TRYCMD=overwrite` rewrites the snapshots.

use std::path::Path;

#[test]
fn help_and_usage_errors_are_as_pinned() {
    trycmd::TestCases::new()
        .env("KSTREAM_BROKERS", "")
        .register_bin("kstream", Path::new(env!("CARGO_BIN_EXE_kstream")))
        .case("tests/cli/*.trycmd")
        .run();
}
