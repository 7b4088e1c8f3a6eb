//! Progress on a terminal: bytes, rate and the time that is left.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over so many bytes on standard error; hidden unless that is a terminal.
pub(crate) fn bytes_bar(what: &str, of_bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(of_bytes);
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    bar.with_message(what.to_owned())
}
