//! The agent's facts as Prometheus metrics.

use ms2m_transfer_direct::Agent;
use ms2m_transfer_direct::agent::Facts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that there is to know, now.
pub(crate) fn text(agent: &Agent) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("ms2m_agent");
    registry.register_collector(Box::new(Snapshot(agent.facts())));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Snapshot(Facts);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let facts = &self.0;
        let counters = [
            ("connections", "Connections accepted", facts.connections),
            ("connections_refused", "Connections closed or told to come later, because there were too many", facts.connections_refused),
            ("handshakes_failed", "Connections whose TLS handshake failed", facts.handshakes_failed),
            ("requests_refused", "Requests answered with an error", facts.requests_refused),
            ("uploads_done", "Parts of checkpoints that have arrived", facts.uploads_done),
            ("uploads_resumed", "Uploads that went on where an earlier connection had broken off", facts.uploads_resumed),
            ("uploads_broken", "Connections on which an upload broke off", facts.uploads_broken),
            ("uploads_failed", "Uploads whose bytes were refused", facts.uploads_failed),
            ("received_bytes", "Bytes of checkpoints received", facts.bytes_received),
            ("sent_bytes", "Bytes of checkpoints read by others", facts.bytes_sent),
            ("orphans_removed", "Files removed because nobody asked for them any more", facts.orphans_removed),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let gauges = [
            ("connections_open", "Connections open now", facts.connections_open),
            ("transfers_open", "Uploads and downloads going on now", facts.transfers_open),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
