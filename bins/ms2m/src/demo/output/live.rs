//! A line on the terminal while a demo runs.

use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use ms2m_core::engine::{Course, MigrationState};
use ms2m_core::{MigrationId, Observer, Progress};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::demo::args::DemoArgs;
use crate::demo::judge::Judge;

const EVERY: Duration = Duration::from_millis(50);

/// Shows phase, lag and messages on standard error if that is a terminal.
#[derive(Debug)]
pub(crate) struct Live {
    bar: ProgressBar,
    phase: Mutex<String>,
    lag: Mutex<Option<u64>>,
}

impl Live {
    /// A line, hidden where there is no terminal.
    pub(crate) fn new(args: &DemoArgs) -> Arc<Self> {
        // On simulated time the line would be drawn as often as time jumps.
        let shown = std::io::stderr().is_terminal() && !args.is_simulated();
        let bar = if shown { ProgressBar::new(args.messages().unwrap_or(0)) } else { ProgressBar::hidden() };
        let template = "{spinner} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Arc::new(Self { bar, phase: Mutex::new("serving".into()), lag: Mutex::default() })
    }

    /// Draws until it is dropped.
    pub(crate) fn draw(self: &Arc<Self>, judge: Arc<Judge>) -> Drawing {
        if self.bar.is_hidden() {
            return Drawing(None, Arc::clone(self));
        }
        let live = Arc::clone(self);
        let task = tokio::spawn(async move {
            loop {
                let phase = live.phase.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let lag = *live.lag.lock().unwrap_or_else(PoisonError::into_inner);
                let lag = lag.map(|lag| format!(", copy {lag} behind")).unwrap_or_default();
                live.bar.set_message(format!("{phase}{lag} · sent {} · applied {}", judge.sent(), judge.applied()));
                live.bar.tick();
                sleep(EVERY).await;
            }
        });
        Drawing(Some(task), Arc::clone(self))
    }
}

/// Clears the line when dropped.
#[derive(Debug)]
pub(crate) struct Drawing(Option<JoinHandle<()>>, Arc<Live>);

impl Drop for Drawing {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
        self.1.bar.finish_and_clear();
    }
}

impl Observer for Live {
    fn on_state(&self, state: &MigrationState) {
        let way = match state.course() {
            _ if state.is_final() => "serving".to_owned(),
            Course::Undoing(_) => "rolling back".to_owned(),
            Course::Forward | Course::Committed => state.phase().to_string(),
        };
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = format!("{}: {way}", state.spec().migration);
        *self.lag.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn on_progress(&self, _: &MigrationId, progress: &Progress) {
        if let Progress::Replay(replay) = progress {
            *self.lag.lock().unwrap_or_else(PoisonError::into_inner) = Some(replay.lag());
        }
    }
}
