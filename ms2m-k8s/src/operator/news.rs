//! What is told while a migration runs: events, and how far it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder};
use ms2m_core::{MigrationId, MigrationReport, MigrationState, Observer, Outcome, Phase, Progress, ReplayStanding};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::running::Running;
use crate::api::{ProgressStatus, StatefulMigration};

/// Events that wait to be published; more than a migration has phases.
const EVENTS_MAX: usize = 64;
/// How long events wait for others, or for the end: while nobody serves a queue, the API server has better things to do.
const EVENTS_AFTER: Duration = Duration::from_secs(1);
/// How often the progress is written at most: of one migration, and of all together.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
const PROGRESS_OF_ALL_EVERY: Duration = Duration::from_millis(20);
/// How long writing one may take.
const LAST: Duration = Duration::from_secs(5);

/// Looks on, and passes on to whoever else does.
#[derive(Debug)]
pub(super) struct News {
    next: Arc<dyn Observer>,
    events: mpsc::Sender<Event>,
    progress: watch::Sender<ProgressStatus>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    phase: Option<Phase>,
    attention: bool,
    /// When the present part's bytes began to travel.
    since: Option<Instant>,
}

/// Writes what [`News`] has seen, a little later.
pub(super) struct Writer {
    events: mpsc::Receiver<Event>,
    progress: watch::Receiver<ProgressStatus>,
}

impl News {
    pub(super) fn new(next: Arc<dyn Observer>) -> (Self, Writer) {
        let (events, to_publish) = mpsc::channel(EVENTS_MAX);
        let (progress, to_write) = watch::channel(ProgressStatus::default());
        (Self { next, events, progress, seen: Mutex::default() }, Writer { events: to_publish, progress: to_write })
    }

    fn event(&self, type_: EventType, reason: &str, note: impl Into<String>) {
        // API servers take 1 kB of it.
        let note: String = note.into().chars().take(1000).collect();
        let _ = self.events.try_send(event(type_, reason, note));
    }
}

pub(super) fn event(type_: EventType, reason: &str, note: String) -> Event {
    Event { type_, reason: reason.to_owned(), note: Some(note), action: "Migrate".to_owned(), secondary: None }
}

impl Observer for News {
    fn on_state(&self, state: &MigrationState) {
        self.next.on_state(state);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.phase != Some(state.phase()) {
            seen.phase = Some(state.phase());
            let report = MigrationReport::of(state);
            if let Some(report) = &report {
                let summary = if report.outcome == Outcome::Completed { "moved" } else { "undone" };
                self.progress.send_modify(|now| {
                    *now = ProgressStatus { summary: summary.to_owned(), eta_seconds: None, lag: 0, ..now.clone() };
                });
            }
            match report {
                None => self.event(EventType::Normal, &state.phase().to_string(), format!("{}: {}", state.phase(), state.timeline())),
                Some(report) if report.outcome == Outcome::Completed => {
                    self.event(
                        EventType::Normal,
                        "Completed",
                        format!("the copy owns the queue, and the source is gone: {}", state.timeline()),
                    );
                }
                Some(report) => self.event(EventType::Warning, &format!("{:?}", report.outcome), report.reason.unwrap_or_default()),
            }
        }
        let attention = state.attention().is_some();
        if attention && !seen.attention {
            self.event(EventType::Warning, "NeedsAttention", "a deadline has passed that cannot end this migration: see its status");
        }
        seen.attention = attention;
    }

    fn on_progress(&self, migration: &MigrationId, progress: &Progress) {
        self.next.on_progress(migration, progress);
        match progress {
            Progress::Transfer { bytes, of_bytes, .. } => {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                let begun = self.progress.borrow().bytes_done > *bytes;
                let since = if begun { seen.since.insert(Instant::now()) } else { seen.since.get_or_insert_with(Instant::now) };
                let rate = (*bytes as f64 / since.elapsed().as_secs_f64().max(0.001)) as u64;
                self.progress.send_modify(|now| {
                    now.summary = format!("{}% of {:.1} MB", bytes * 100 / (*of_bytes).max(1), *of_bytes as f64 / 1e6);
                    (now.bytes_done, now.bytes_total) = (*bytes, *of_bytes);
                    now.bytes_per_second = Some(rate);
                    now.eta_seconds = Some(of_bytes.saturating_sub(*bytes) / rate.max(1));
                });
            }
            Progress::Replay(replay) => {
                let speaks = replay.standing != ReplayStanding::AwaitingCopy;
                self.progress.send_if_modified(|now| {
                    let lag = if speaks { replay.lag() } else { now.lag };
                    let changed = (now.applied, now.replayed, now.lag) != (replay.source_n, replay.copy_n, lag);
                    (now.applied, now.replayed, now.lag) = (replay.source_n, replay.copy_n, lag);
                    if speaks {
                        now.summary = format!("{lag} messages behind");
                    }
                    changed
                });
            }
        }
    }
}

impl Writer {
    /// Writes until the driver is gone, and then what is left.
    pub(super) async fn write(self, running: &Running, recorder: &Recorder, about: &ObjectReference, resources: &Api<StatefulMigration>) {
        let Self { mut events, mut progress } = self;
        let published = async {
            while let Some(first) = events.recv().await {
                let mut gathered = vec![first];
                let more = async {
                    while let Some(event) = events.recv().await {
                        gathered.push(event);
                    }
                };
                let _ = timeout(EVENTS_AFTER, more).await;
                for event in gathered {
                    let told = timeout(LAST, recorder.publish(&event, about)).await;
                    if !matches!(told, Ok(Ok(()))) {
                        tracing::debug!(reason = event.reason, "an event could not be published");
                    }
                }
            }
        };
        let written = async {
            let name = about.name.as_deref().unwrap_or_default();
            while progress.changed().await.is_ok() {
                let all = u32::try_from(running.count()).unwrap_or(u32::MAX);
                let ends = async { while progress.changed().await.is_ok() {} };
                let _ = timeout(PROGRESS_EVERY.max(PROGRESS_OF_ALL_EVERY.saturating_mul(all)), ends).await;
                let now = progress.borrow_and_update().clone();
                let patch = Patch::Merge(json!({ "metadata": { "uid": about.uid }, "status": { "progress": now } }));
                let told = timeout(LAST, resources.patch_status(name, &PatchParams::default(), &patch)).await;
                if !matches!(told, Ok(Ok(_))) {
                    tracing::debug!(name, "the progress could not be written");
                }
            }
        };
        tokio::join!(published, written);
    }
}
