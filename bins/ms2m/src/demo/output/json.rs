//! One JSON object, written piece by piece so that memory does not grow with the number of migrations.

use std::collections::BTreeMap;
use std::io::{self, Write};

use ms2m_core::{MigrationReport, Summary};
use serde::Serialize;

use super::{Ending, Teller};

/// Writes to `W`.
pub(crate) struct Json<W> {
    out: W,
    reports: u64,
}

#[derive(Serialize)]
struct DemoSummary<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    /// `real`, or `simulated`: then all durations are.
    clock: &'static str,
    messages: u64,
    /// Faults that have happened, by kind; none without `--faults`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    faults: &'a BTreeMap<&'static str, u64>,
    /// What the auditor found first, in words.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    findings: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'a str>,
}

impl<W: Write> Json<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, reports: 0 }
    }
}

impl<W: Write + Send> Teller for Json<W> {
    fn report(&mut self, report: &MigrationReport) -> io::Result<()> {
        self.out.write_all(if self.reports == 0 { b"{\"migrations\":[\n" } else { b",\n" })?;
        self.reports += 1;
        serde_json::to_writer(&mut self.out, report)?;
        self.out.flush()
    }

    fn finish(&mut self, ending: &Ending) -> io::Result<()> {
        if self.reports == 0 {
            self.out.write_all(b"{\"migrations\":[")?;
        }
        self.out.write_all(b"\n],\"summary\":")?;
        let summary = DemoSummary {
            summary: &ending.summary,
            clock: if ending.simulated { "simulated" } else { "real" },
            messages: ending.messages,
            faults: &ending.faults,
            findings: &ending.verdict.first_findings,
            trouble: ending.trouble.as_deref(),
        };
        serde_json::to_writer(&mut self.out, &summary)?;
        self.out.write_all(b"}\n")?;
        self.out.flush()
    }
}
