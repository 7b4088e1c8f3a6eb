//! Spans as a collector gets them, by its own protocol.

use std::net::TcpListener;

use ms2m_core::ErrorKind;
use ms2m_testkit::collector::{Collector, Span, Value};
use ms2m_traces::{Traces, root_span_of, trace_of};
use tracing::field::Empty;
use tracing_subscriber::prelude::*;

const MIGRATION: &str = "a8fd326c-2e8d-49da-ba4f-584162f62ff1";

/// What a collector gets of `work`.
fn collected(work: impl FnOnce()) -> Vec<Span> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let collector = Collector::start("127.0.0.1:0").unwrap();
    let traces = Traces::to(Some(collector.url()), "test").unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(traces.layer()), work);
    traces.end();
    let spans = collector.spans();
    assert!(spans.iter().all(|(service, _)| service == "test"));
    spans.into_iter().map(|(_, span)| span).collect()
}

fn text(span: &Span, key: &str) -> Option<Value> {
    span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value
}

#[test]
fn a_migration_is_one_trace_and_others_find_into_it() {
    let spans = collected(|| {
        let migration = tracing::info_span!("migration", migration = MIGRATION, queue = "orders", outcome = Empty);
        migration.in_scope(|| {
            let call = tracing::info_span!("call", otel.name = "send final", migration = MIGRATION, attempt = 2_u32, error = Empty);
            call.record("error", "no route to host");
            call.in_scope(|| drop(tracing::info_span!("within").entered()));
            drop(tracing::debug_span!("call", migration = MIGRATION).entered());
        });
        migration.record("outcome", "Completed");
        drop(migration);
        drop(tracing::info_span!("node", otel.name = "node: restore", migration = MIGRATION).entered());
        drop(tracing::info_span!("of no migration").entered());
    });
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["within", "send final", "migration", "node: restore"]);
    let [within, send, migration, restore] = &spans[..] else { panic!() };
    assert!(spans.iter().all(|span| span.trace_id == trace_of(MIGRATION).to_bytes()));
    assert!(spans.iter().all(|span| span.end_time_unix_nano >= span.start_time_unix_nano));
    let root = root_span_of(MIGRATION).to_bytes().to_vec();
    assert_eq!((&migration.span_id, migration.parent_span_id.len()), (&root, 0));
    assert_eq!((&send.parent_span_id, &restore.parent_span_id, &within.parent_span_id), (&root, &root, &send.span_id));
    assert_eq!(text(migration, "outcome"), Some(Value::StringValue("Completed".into())));
    assert_eq!(text(send, "attempt"), Some(Value::IntValue(2)));
    assert_eq!(text(within, "migration"), Some(Value::StringValue(MIGRATION.into())));
    let failed = send.status.as_ref().unwrap();
    assert_eq!((failed.code, failed.message.as_str()), (2, "no route to host"));
    assert_eq!(restore.status.as_ref().map_or(0, |status| status.code), 0);
}

#[test]
fn a_collector_that_is_not_there_keeps_nothing_up() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let traces = Traces::to(Some(&format!("http://{gone}")), "test").unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(traces.layer()), || {
        for _ in 0..20_000 {
            drop(tracing::info_span!("migration", migration = MIGRATION).entered());
        }
    });
    traces.end();
}

#[test]
fn no_collector_is_fine_and_a_wrong_one_is_told() {
    for none in [None, Some("")] {
        let traces = Traces::to(none, "test").unwrap();
        assert!(traces.layer().is_none());
        traces.end();
    }
    for wrong in ["collector:4317", "grpc://collector", "http://"] {
        let error = Traces::to(Some(wrong), "test").unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("write http://HOST:4318"), "{wrong}: {error}");
    }
}
