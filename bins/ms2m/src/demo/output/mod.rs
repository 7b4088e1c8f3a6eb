//! What a demo shows: its reports, its end, and while it runs how far it is.

mod json;
mod live;
mod picture;
mod text;

use std::collections::BTreeMap;
use std::io;

use ms2m_core::{MigrationReport, Outcome, Summary};
use ms2m_testkit::auditor::Verdict;

pub(crate) use json::Json;
pub(crate) use live::Live;
pub(crate) use text::Text;

/// The end of a demo.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) summary: Summary,
    /// The auditor's, over everything.
    pub(crate) verdict: Verdict,
    /// How the last migration ended.
    pub(crate) last: Option<Outcome>,
    pub(crate) messages: u64,
    pub(crate) simulated: bool,
    /// Faults that have happened, by kind.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// Why it ended early.
    pub(crate) trouble: Option<String>,
}

/// Tells the reports as they come, and the end.
pub(crate) trait Teller: Send {
    /// One migration is audited.
    fn report(&mut self, report: &MigrationReport) -> io::Result<()>;

    /// It is over.
    fn finish(&mut self, ending: &Ending) -> io::Result<()>;
}
