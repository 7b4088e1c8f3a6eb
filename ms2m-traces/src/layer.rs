//! [`MigrationSpans`]: the layer that takes the spans.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks, SpanProcessor as _,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::ids::{root_span_of, trace_of};

/// The span of a whole migration.
const ROOT: &str = "migration";

/// Sends the spans of migrations when they end. More detailed ones than `INFO` do not count: they are asked for again and again.
pub struct MigrationSpans {
    processor: Arc<BatchSpanProcessor>,
    ids: RandomIdGenerator,
    scope: InstrumentationScope,
}

impl fmt::Debug for MigrationSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MigrationSpans")
    }
}

/// What is known of a span that has begun.
struct Begun {
    migration: String,
    span: SpanId,
    parent: SpanId,
    begun: SystemTime,
    said: Said,
}

/// The fields of a span.
#[derive(Default)]
struct Said {
    migration: Option<String>,
    name: Option<String>,
    error: Option<String>,
    attributes: Vec<KeyValue>,
}

impl MigrationSpans {
    pub(crate) fn new(processor: Arc<BatchSpanProcessor>) -> Self {
        let scope = InstrumentationScope::builder("ms2m").with_version(env!("CARGO_PKG_VERSION")).build();
        Self { processor, ids: RandomIdGenerator::default(), scope }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for MigrationSpans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if *attributes.metadata().level() > Level::INFO {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let mut said = Said::default();
        attributes.record(&mut said);
        let around = span.scope().skip(1).find_map(|around| {
            let extensions = around.extensions();
            extensions.get::<Begun>().map(|begun| (begun.migration.clone(), begun.span))
        });
        let Some(migration) = said.migration.clone().or_else(|| Some(around.as_ref()?.0.clone())) else { return };
        let root = root_span_of(&migration);
        let (own, parent) = match around.filter(|(around, _)| *around == migration) {
            Some((_, around)) => (self.ids.new_span_id(), around),
            None if span.name() == ROOT => (root, SpanId::INVALID),
            None => (self.ids.new_span_id(), root),
        };
        span.extensions_mut().insert(Begun { migration, span: own, parent, begun: SystemTime::now(), said });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(begun) = span.extensions_mut().get_mut::<Begun>()
        {
            values.record(&mut begun.said);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Begun { migration, span: own, parent, begun, said }) = span.extensions_mut().remove() else { return };
        let Said { name, error, mut attributes, .. } = said;
        let trace = trace_of(&migration);
        attributes.push(KeyValue::new("migration", migration));
        self.processor.on_end(SpanData {
            span_context: SpanContext::new(trace, own, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.map_or(span.name().into(), Into::into),
            start_time: begun,
            end_time: SystemTime::now(),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: error.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }
}

impl Said {
    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "migration" => self.migration = Some(text),
            "otel.name" => self.name = Some(text),
            "error" => self.error = Some(text),
            name => self.attributes.push(KeyValue::new(name, text)),
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.attributes.push(KeyValue::new(field.name(), i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }
}
