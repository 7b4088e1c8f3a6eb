//! The spans of migrations as [OpenTelemetry](https://opentelemetry.io/docs/specs/otel/trace/) traces, sent by OTLP over HTTP.
//!
//! Each migration is one trace, whose id is the migration's: of a UUID these same 128 bits, of any other name a digest. So controller and agents, and a controller that goes
//! on after a crash of the first, add to the same trace without telling each other anything. Spans count that have a field `migration`, and those within them; the
//! field `otel.name` names a span for people, and a field `error` marks it as failed.
//!
//! ```
//! use tracing_subscriber::prelude::*;
//!
//! # fn main() -> ms2m_core::Result<()> {
//! // Where no collector is named, nothing is sent.
//! let traces = ms2m_traces::Traces::to(std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().as_deref(), "my-operator")?;
//! tracing_subscriber::registry().with(traces.layer()).init();
//! // … and in the end, so that the last ones arrive:
//! traces.end();
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

mod ids;
mod layer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanProcessor as _};

pub use ids::{root_span_of, trace_of};
pub use layer::MigrationSpans;

/// How long a collector may take for some spans, and the last ones at the end.
const EXPORT: Duration = Duration::from_secs(5);
/// How long spans wait for others, to be sent with them.
const DELAY: Duration = Duration::from_secs(1);
/// More than these are dropped while no collector takes them.
const QUEUE_MAX: usize = 8192;

/// Sends spans to a collector, if there is one.
#[derive(Clone)]
pub struct Traces(Option<Arc<BatchSpanProcessor>>);

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Traces").field(&self.0.is_some()).finish()
    }
}

impl Traces {
    /// To the collector at a URL such as `http://collector:4318`, to which `/v1/traces` is added
    /// ([the OTLP exporter's specification](https://opentelemetry.io/docs/specs/otel/protocol/exporter/)). `service` names this program there. A collector that
    /// does not answer keeps nothing up; what it does not take is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is no such URL.
    pub fn to(collector: Option<&str>, service: &'static str) -> Result<Self> {
        let Some(collector) = collector.filter(|url| !url.is_empty()) else { return Ok(Self(None)) };
        let invalid = |error: &dyn fmt::Display| {
            Error::fatal(ErrorKind::Invalid, "this is no URL of an OpenTelemetry collector; write http://HOST:4318")
                .with("collector", collector)
                .caused_by(error.to_string())
        };
        if !["http://", "https://"].iter().any(|scheme| collector.starts_with(scheme)) {
            return Err(invalid(&"neither http:// nor https://"));
        }
        let endpoint = format!("{}/v1/traces", collector.trim_end_matches('/'));
        let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).with_timeout(EXPORT).build();
        let exporter = exporter.map_err(|error| invalid(&error))?;
        let batches = BatchConfigBuilder::default().with_scheduled_delay(DELAY).with_max_queue_size(QUEUE_MAX).build();
        let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        processor.set_resource(&Resource::builder().with_service_name(service).build());
        Ok(Self(Some(Arc::new(processor))))
    }

    /// The layer of a subscriber that takes the spans; none without a collector.
    #[must_use]
    pub fn layer(&self) -> Option<MigrationSpans> {
        self.0.clone().map(MigrationSpans::new)
    }

    /// Sends what is left, as far as the collector takes it within seconds.
    pub fn end(&self) {
        if let Some(processor) = &self.0
            && let Err(error) = processor.shutdown_with_timeout(EXPORT)
        {
            tracing::warn!(%error, "the last spans have not reached the collector");
        }
    }
}
