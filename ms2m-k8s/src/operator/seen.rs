//! [`Seen`]: what is kept in memory of every migration.

use std::borrow::Cow;
use std::sync::OnceLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::finalizer;
use crate::api::{MessageQueueConfig, StatefulMigration};
use crate::plan::Plan;
use crate::status::{LEFT_BEHIND, OWED};

/// A migration as it was seen last, without what is large in it: the engine's state, its report, and who has written which field.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Seen {
    #[serde(deserialize_with = "lean")]
    metadata: ObjectMeta,
    spec: Asked,
    #[serde(default)]
    status: Told,
    #[serde(skip)]
    keys: OnceLock<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    source_pod: String,
    message_queue_config: MessageQueueConfig,
    ttl_seconds_after_finished: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Told {
    completion_time: Option<Time>,
    message: Option<String>,
    engine: Option<IgnoredAny>,
    #[serde(deserialize_with = "is_left_behind", rename = "conditions")]
    left_behind: bool,
}

/// Of the conditions only this one.
fn is_left_behind<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let conditions = Vec::<Condition>::deserialize(from)?;
    Ok(conditions.iter().any(|condition| condition.type_ == LEFT_BEHIND && condition.reason == OWED))
}

fn lean<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    let mut meta = ObjectMeta::deserialize(from)?;
    (meta.managed_fields, meta.annotations, meta.labels) = (None, None, None);
    Ok(meta)
}

impl Seen {
    pub(super) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or("default")
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether the engine's state is kept in it.
    pub(super) fn has_begun(&self) -> bool {
        self.status.engine.is_some()
    }

    /// When its migration has ended, or was refused.
    pub(super) fn ended_at(&self) -> Option<&Time> {
        self.status.completion_time.as_ref()
    }

    /// Whether something that it has left behind is still to be removed.
    pub(super) fn is_left_behind(&self) -> bool {
        self.status.left_behind
    }

    pub(super) fn has_finalizer(&self) -> bool {
        finalizer::has(&self.metadata)
    }

    pub(super) fn message(&self) -> Option<&str> {
        self.status.message.as_deref()
    }

    pub(super) fn ttl_seconds(&self) -> Option<u32> {
        self.spec.ttl_seconds_after_finished
    }

    /// What no two migrations may work on at once: its queue, and its source.
    pub(super) fn keys(&self) -> &[String] {
        self.keys.get_or_init(|| {
            let queue = Plan::key_of_queue(self.namespace(), &self.spec.message_queue_config);
            vec![format!("queue {queue}"), format!("pod {}/{}", self.namespace(), self.spec.source_pod)]
        })
    }
}

/// The same resource, of which less is read.
impl Resource for Seen {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        StatefulMigration::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        StatefulMigration::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        StatefulMigration::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        StatefulMigration::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::FINALIZER;

    #[test]
    fn little_is_kept_of_a_migration() {
        let mut resource = json!({
            "metadata": {
                "name": "m", "namespace": "shop", "uid": "u", "finalizers": [FINALIZER], "labels": {"a": "b"},
                "managedFields": [{"manager": "somebody", "fieldsV1": {"f:status": {}}}],
            },
            "spec": {"sourcePod": "orders-1", "messageQueueConfig": {"queueName": "orders", "brokerUrl": "amqp://u:secret@broker"}},
        });
        let seen: Seen = serde_json::from_value(resource.clone()).unwrap();
        assert!(seen.has_finalizer() && !seen.has_begun() && !seen.is_deleted() && seen.ended_at().is_none());
        assert_eq!(seen.keys(), ["queue broker orders", "pod shop/orders-1"]);
        assert!(seen.meta().managed_fields.is_none() && seen.meta().labels.is_none());
        resource["status"] = json!({"engine": {"large": [1, 2]}, "completionTime": "2026-01-01T00:00:00Z", "phase": "Whatever"});
        let seen: Seen = serde_json::from_value(resource.clone()).unwrap();
        assert!(seen.has_begun() && seen.ended_at().is_some() && !seen.is_left_behind());
        for (reason, owed) in [("Unreachable", true), ("Kept", false), ("Removed", false)] {
            let condition = |type_: &str, reason: &str| {
                json!({
                    "type": type_, "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
                })
            };
            resource["status"]["conditions"] = json!([condition("Completed", "Unreachable"), condition("LeftBehind", reason)]);
            let seen: Seen = serde_json::from_value(resource.clone()).unwrap();
            assert_eq!(seen.is_left_behind(), owed, "{reason}");
        }
    }
}
