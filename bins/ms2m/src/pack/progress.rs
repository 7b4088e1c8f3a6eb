//! A bar with rate and remaining time, on a terminal only.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

/// One for the bytes of `archive`.
pub(super) fn bar(archive: &Path) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(archive.metadata().map_or(0, |metadata| metadata.len()));
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left") {
        bar.set_style(style);
    }
    bar
}
