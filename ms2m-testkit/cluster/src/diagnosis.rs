//! What is told of a cluster when its test has failed.

use std::fmt::Write as _;
use std::fs;

use ms2m_testkit_machine::Machine;

use crate::DIRECTORY;

const LINES: usize = 25;

/// The ends of all logs.
pub(crate) fn logs(machine: &Machine) -> String {
    let directory = machine.path(DIRECTORY).join("log");
    let mut files: Vec<_> = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut text = String::new();
    for file in files {
        let log = fs::read(&file).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let _ = writeln!(text, "==> {}", file.file_name().unwrap_or_default().display());
        for line in &lines[lines.len().saturating_sub(LINES)..] {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}
