//! What queues are declared with, and what they are found to be.

use lapin::types::{AMQPValue, FieldTable};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::link::{LinkError, LinkResult, QueueFacts, QueueKind, QueueOptions};

/// A stream is cut by whole segments, 500 MB each unless told otherwise.
const SEGMENT_BYTES_MAX: u64 = 500_000_000;
const SEGMENT_BYTES_MIN: u64 = 1_000_000;
/// Arguments and policy keys that change where a queue's data lies, not what its consumers get.
const NEUTRAL: [&str; 12] = [
    "queue-type",
    "single-active-consumer",
    "queue-mode",
    "queue-version",
    "queue-leader-locator",
    "queue-master-locator",
    "quorum-initial-group-size",
    "initial-cluster-size",
    "max-in-memory-length",
    "max-in-memory-bytes",
    "stream-max-segment-size-bytes",
    "stream-filter-size-bytes",
];

/// The type is always named: a virtual host may have another default than classic.
pub(super) fn declare_arguments(options: &QueueOptions) -> FieldTable {
    let mut arguments = FieldTable::default();
    let kind = match options.kind {
        QueueKind::Classic => "classic",
        QueueKind::Quorum => "quorum",
        QueueKind::Stream => "stream",
    };
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    if options.single_active_consumer {
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    }
    if let Some(bytes) = options.bytes_max {
        arguments.insert("x-max-length-bytes".into(), integer(bytes));
        if options.kind == QueueKind::Stream {
            let segment = (bytes / 4).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
            arguments.insert("x-stream-max-segment-size-bytes".into(), integer(segment));
        }
    }
    arguments
}

/// AMQP's integers are signed.
fn integer(value: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX))
}

/// The part of `GET /api/queues/vhost/name` that preflight wants.
#[derive(Deserialize)]
pub(super) struct QueueReport {
    #[serde(rename = "type", default)]
    kind: String,
    // An empty Erlang list is an empty object to RabbitMQ, and an empty array in JSON.
    #[serde(default)]
    arguments: Value,
    #[serde(default)]
    effective_policy_definition: Value,
}

impl QueueReport {
    pub(super) fn facts(&self) -> LinkResult<QueueFacts> {
        let kind = match self.kind.as_str() {
            "classic" => QueueKind::Classic,
            "quorum" => QueueKind::Quorum,
            "stream" => QueueKind::Stream,
            other => return Err(LinkError::Refused(format!("queues of type {other:?} are not known"))),
        };
        let nothing = Map::new();
        let arguments = self.arguments.as_object().unwrap_or(&nothing);
        let policies = self.effective_policy_definition.as_object().unwrap_or(&nothing);
        let names = arguments.keys().map(|name| name.strip_prefix("x-").unwrap_or(name)).chain(policies.keys().map(String::as_str));
        let mut names: Vec<String> = names.filter(|name| !NEUTRAL.contains(name) && !name.starts_with("ha-")).map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        let single_active_consumer = arguments.get("x-single-active-consumer") == Some(&Value::Bool(true));
        Ok(QueueFacts { kind, single_active_consumer, arguments: names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_and_policies_are_told_together() -> LinkResult<()> {
        let report: QueueReport = serde_json::from_str(
            r#"{"type":"quorum","arguments":{"x-queue-type":"quorum","x-single-active-consumer":true,"x-max-length":5},
                "effective_policy_definition":{"max-length":9,"message-ttl":1}}"#,
        )
        .expect("JSON");
        let facts = report.facts()?;
        assert_eq!((facts.kind, facts.single_active_consumer), (QueueKind::Quorum, true));
        assert_eq!(facts.arguments, ["max-length", "message-ttl"]);
        let report: QueueReport =
            serde_json::from_str(r#"{"type":"classic","arguments":[],"effective_policy_definition":[]}"#).expect("JSON");
        assert_eq!(report.facts()?.arguments, [""; 0]);
        Ok(())
    }
}
