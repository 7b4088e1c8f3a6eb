//! Directories that a killed CRIU leaves in `/tmp`.

use std::path::{Path, PathBuf};

const PREFIX: &str = ".criu.";

/// Removes the empty ones, unless some CRIU is at work: whose they are cannot be seen. What stays is removed by a later call.
pub(crate) fn remove_abandoned() {
    // In this order: what a CRIU makes that begins just now is not among them.
    let directories = directories(Path::new("/tmp"));
    if !directories.is_empty() && !is_at_work() {
        for directory in directories {
            let _ = std::fs::remove_dir(directory);
        }
    }
}

fn directories(place: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    ours.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn is_at_work() -> bool {
    let Ok(processes) = procfs::process::all_processes() else { return true };
    processes.flatten().filter_map(|process| process.stat().ok()).any(|stat| stat.comm == "criu" && stat.state != 'Z')
}

#[cfg(test)]
mod tests {
    use super::directories;

    #[test]
    fn only_directories_of_criu_are_found() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join(".criu.mntns.9kG0Ye")).unwrap();
        std::fs::create_dir(place.path().join("other")).unwrap();
        std::fs::write(place.path().join(".criu.file"), "").unwrap();
        assert_eq!(directories(place.path()), [place.path().join(".criu.mntns.9kG0Ye")]);
    }
}
