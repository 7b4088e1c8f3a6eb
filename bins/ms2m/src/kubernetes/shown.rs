//! A migration's line: on the terminal the present one, elsewhere one for each phase.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use ms2m_k8s::api::StatefulMigrationStatus;

/// One line.
pub(super) struct Shown {
    bar: ProgressBar,
    /// Whose line it is, where there are several.
    name: Option<String>,
    phase: RefCell<String>,
}

/// Several lines under one another.
pub(super) struct Lines(Option<MultiProgress>);

impl Lines {
    pub(super) fn new() -> Self {
        Self(io::stderr().is_terminal().then(MultiProgress::new))
    }

    /// A line of this name below the others.
    pub(super) fn line(&self, name: &str) -> Shown {
        let bar = self.0.as_ref().map_or_else(ProgressBar::hidden, |lines| lines.add(spinner()));
        Shown { bar, name: Some(name.to_owned()), phase: RefCell::default() }
    }

    /// Says something above the lines.
    pub(super) fn say(&self, what: &str) {
        match &self.0 {
            Some(lines) => lines.suspend(|| eprintln!("ms2m: {what}")),
            None => eprintln!("ms2m: {what}"),
        }
    }
}

impl Shown {
    /// The only one.
    pub(super) fn alone() -> Self {
        let bar = if io::stderr().is_terminal() { spinner() } else { ProgressBar::hidden() };
        Self { bar, name: None, phase: RefCell::default() }
    }

    pub(super) fn show(&self, status: &StatefulMigrationStatus, deleted: bool) {
        let phase = status.phase.map_or_else(|| "waits for the controller".to_owned(), |phase| phase.to_string());
        let phase = if deleted { format!("{phase}, rolling back") } else { phase };
        let progress = || status.progress.as_ref().map(|progress| progress.summary.as_str()).filter(|summary| !summary.is_empty());
        let more = status.message.as_deref().or_else(progress);
        let line = more.map_or_else(|| phase.clone(), |more| format!("{phase}: {more}"));
        let line = self.name.as_ref().map_or_else(|| line.clone(), |name| format!("{name}  {line}"));
        self.bar.set_message(line.clone());
        if self.bar.is_hidden() && *self.phase.borrow() != phase {
            eprintln!("ms2m: {line}");
            self.phase.replace(phase);
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar
}
