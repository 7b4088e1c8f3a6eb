//! What migrations become, as Prometheus metrics.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use ms2m_core::{MigrationReport, MigrationState, Observer, Outcome};
use ms2m_k8s::OperatorObserver;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// From a cut-over of a millisecond to a transfer of a minute.
const SECONDS: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0, 60.0];
/// From a look at what is in memory to an API server that hardly answers.
const LOOK_SECONDS: [f64; 12] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0, 5.0];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Ended {
    outcome: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Took {
    part: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Looked {
    result: &'static str,
}

/// Counts the ends of migrations, measures their parts, and how the controller does.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    ended: Family<Ended, Counter>,
    took: Family<Took, Histogram>,
    bytes: Counter,
    reconciled: Family<Looked, Histogram>,
    running: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("ms2m_controller");
        let (ended, bytes) = (Family::<Ended, Counter>::default(), Counter::default());
        let took = Family::<Took, Histogram>::new_with_constructor(|| Histogram::new(SECONDS));
        registry.register("migrations", "Migrations that have ended, by outcome", ended.clone());
        registry.register_with_unit("part", "How long the parts of completed migrations took", Unit::Seconds, took.clone());
        registry.register_with_unit("transferred", "What checkpoints took of the network", Unit::Bytes, bytes.clone());
        let reconciled = Family::<Looked, Histogram>::new_with_constructor(|| Histogram::new(LOOK_SECONDS));
        let running = Gauge::default();
        let help = "How long one look at a migration took; error: it is tried again";
        registry.register_with_unit("reconcile", help, Unit::Seconds, reconciled.clone());
        registry.register("running", "Migrations under way", running.clone());
        Self { registry: Mutex::new(registry), ended, took, bytes, reconciled, running }
    }

    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        encode(&mut text, &registry)?;
        Ok(text)
    }

    fn count(&self, report: &MigrationReport) {
        let outcome = match report.outcome {
            Outcome::Completed => "completed",
            Outcome::RolledBack => "rolled_back",
            Outcome::Cancelled => "cancelled",
            Outcome::Failed => "failed",
        };
        self.ended.get_or_create(&Ended { outcome }).inc();
        self.bytes.inc_by(report.bytes.transferred);
        if report.outcome != Outcome::Completed {
            return;
        }
        let durations = &report.durations_ms;
        let parts = [
            ("freeze", durations.freeze),
            ("checkpoint", durations.checkpoint),
            ("transfer", durations.transfer),
            ("restore", durations.restore),
            ("replay", durations.replay),
            ("cutover_gap", durations.cutover_gap),
            ("total", durations.total),
        ];
        for (part, ms) in parts {
            if let Some(ms) = ms {
                self.took.get_or_create(&Took { part }).observe(ms / 1000.0);
            }
        }
    }
}

impl Observer for Metrics {
    fn on_state(&self, state: &MigrationState) {
        if let Some(report) = MigrationReport::of(state) {
            self.count(&report);
        }
    }
}

impl OperatorObserver for Metrics {
    fn on_reconcile(&self, took: Duration, failed: bool) {
        let result = if failed { "error" } else { "ok" };
        self.reconciled.get_or_create(&Looked { result }).observe(took.as_secs_f64());
    }

    fn on_running(&self, migrations: usize) {
        self.running.set(i64::try_from(migrations).unwrap_or(i64::MAX));
    }
}
