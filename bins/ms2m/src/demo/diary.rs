//! What a demo remembers, so that it can go on after its driver has died.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use ms2m_core::{InstanceId, MigrationReport, Result};
use ms2m_testkit::auditor::Verdict;
use serde::{Deserialize, Serialize};

use super::leg::Leg;
use crate::file_store::{failed, found, read_json, write_json};

/// Where a demo stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The consumer that owns the queue.
    pub(crate) owner: InstanceId,
    /// The number of the next migration, or of the one under way.
    pub(crate) number: u64,
    /// The migration under way.
    pub(crate) leg: Option<Leg>,
    /// The last migration's report, until it has got its share of the verdict.
    pub(crate) pending: Option<Pending>,
    /// The verdict as far as earlier migrations have got their share of it.
    pub(crate) shared: Verdict,
}

/// A report that waits for its audit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) report: MigrationReport,
    pub(crate) added_latency_us: Option<u64>,
}

/// Keeps the progress in a directory, or nowhere.
#[derive(Clone, Debug)]
pub(crate) struct Diary(Option<PathBuf>);

impl Diary {
    /// Keeps nothing.
    pub(crate) fn nowhere() -> Self {
        Self(None)
    }

    /// In this directory, which exists.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self(Some(directory.to_owned()))
    }

    /// What was kept last.
    pub(crate) fn progress(&self) -> Result<Option<Progress>> {
        let Some(directory) = &self.0 else { return Ok(None) };
        read_json(&directory.join("progress.json"))
    }

    /// Keeps where the demo stands.
    pub(crate) fn note(&self, progress: &Progress) -> Result<()> {
        match &self.0 {
            Some(directory) => write_json(&directory.join("progress.json"), progress),
            None => Ok(()),
        }
    }

    /// Keeps a finished report.
    pub(crate) fn keep(&self, report: &MigrationReport) -> Result<()> {
        let Some(directory) = &self.0 else { return Ok(()) };
        let path = directory.join("reports.jsonl");
        let mut line = serde_json::to_vec(report).map_err(|error| failed(&path, error))?;
        line.push(b'\n');
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(&line).and_then(|()| file.sync_data()));
        written.map_err(|error| failed(&path, error))
    }

    /// The reports kept so far. A crash between [`keep`](Self::keep) and [`note`](Self::note) keeps one twice, and a crash within
    /// the former only a part of it.
    pub(crate) fn reports(&self) -> Result<Vec<MigrationReport>> {
        let Some(directory) = &self.0 else { return Ok(Vec::new()) };
        let path = directory.join("reports.jsonl");
        let Some(file) = found(File::open(&path), &path)? else { return Ok(Vec::new()) };
        let mut reports: Vec<MigrationReport> = Vec::new();
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|error| failed(&path, error))?;
            let Ok(report) = serde_json::from_str::<MigrationReport>(&line) else { continue };
            reports.retain(|other| other.id != report.id);
            reports.push(report);
        }
        Ok(reports)
    }
}
