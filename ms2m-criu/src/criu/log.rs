//! What CRIU's log says about a failure.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Only the end of a log is read: it may be of any size.
const READ_MAX: u64 = 64 << 10;
/// Reported as errors, and without consequence.
const NOISE: &[&str] = &["rlimit: Can't setup RLIMIT_NOFILE"];
const LINES_MAX: usize = 8;
const LINE_BYTES_MAX: usize = 300;

/// The last lines that report an error, the latest last; without such lines the last warnings. Empty when there is no log.
pub(super) fn errors(path: &Path) -> Vec<String> {
    let Ok(text) = tail(path) else { return Vec::new() };
    let marked = |mark: &str| {
        text.lines()
            .filter(|line| line.contains(mark) && !NOISE.iter().any(|noise| line.contains(noise)))
            .map(shortened)
            .collect::<Vec<_>>()
    };
    let mut lines = marked("Error");
    if lines.is_empty() {
        lines = marked("Warn");
    }
    lines.drain(..lines.len().saturating_sub(LINES_MAX));
    lines
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(READ_MAX)))?;
    let mut bytes = Vec::new();
    file.take(READ_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Without the stamp and the place in CRIU's source, which tell a user nothing.
fn shortened(line: &str) -> String {
    let text = match line.split_once("Error (").or_else(|| line.split_once("Warn  (")) {
        Some((_, rest)) => rest.split_once("): ").map_or(rest, |(_, text)| text),
        None => line,
    };
    text.trim().chars().filter(|c| !c.is_control()).take(LINE_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_errors_are_quoted_and_bounded() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("dump.log");
        let mut text = "(00.1) fine\n".repeat(20_000);
        for line in 0..20 {
            text += &format!("(00.2) Error (criu/x.c:{line}): line {line} {}\n", "x".repeat(5_000));
        }
        std::fs::write(&path, text + "(00.3) Dumping FAILED.\n").expect("written");
        let lines = errors(&path);
        assert_eq!(lines.len(), LINES_MAX);
        assert!(lines[7].starts_with("line 19 x") && lines.iter().all(|line| line.len() <= LINE_BYTES_MAX), "{lines:?}");
        assert!(errors(&dir.path().join("none")).is_empty());
    }

    #[test]
    fn without_errors_warnings_are_quoted() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("dump.log");
        std::fs::write(&path, "(00.1) Warn  (criu/k.c:1): it is odd\n\u{1b}[31m(00.2) done\n").expect("written");
        assert_eq!(errors(&path), ["it is odd"]);
    }
}
