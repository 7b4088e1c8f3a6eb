//! [`Strategy`]: in which order the pods of source and copy live.

use ms2m_core::{Error, ErrorKind, Result};

use crate::api::{MigrationStrategy, STANDS_IN_FOR};
use crate::owner::Owner;
use crate::pod::{Identity, SourcePod};

/// How the state gets into a pod that its owner counts as its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// A hidden copy, which the source's ReplicaSet adopts; or, of a bare pod, which simply lives on.
    Shadow,
    /// The source ends when its checkpoint has arrived, and the StatefulSet's next pod of its name is the copy.
    Sequential {
        /// The StatefulSet.
        stateful_set: String,
    },
    /// A copy of another name serves, because the StatefulSet's own pod can be made anew only when the source is gone. It is brought [home](Self::Home)
    /// by a second migration.
    StandIn {
        /// The StatefulSet.
        stateful_set: String,
    },
    /// From the stand-in to the StatefulSet's own pod, which was made anew and waits.
    Home {
        /// The StatefulSet.
        stateful_set: String,
    },
}

impl Strategy {
    /// What is asked for, if it can be had.
    pub(crate) fn choose(wanted: Option<MigrationStrategy>, target_node: Option<&str>, owner: &Owner, source: &SourcePod) -> Result<Self> {
        let refuse = |message: &str| Err(Error::fatal(ErrorKind::Unsupported, message.to_owned()).with("pod", source.name()));
        let Owner::StatefulSet { name } = owner else {
            if wanted == Some(MigrationStrategy::Sequential) {
                return refuse(
                    "migrationStrategy: Sequential keeps the pod's name, which matters for pods of a StatefulSet only; leave it out",
                );
            }
            return Ok(match source.annotation(STANDS_IN_FOR).and_then(|pod| pod.rsplit_once('-')) {
                Some((stateful_set, _)) if *owner == Owner::Bare => Self::Home { stateful_set: stateful_set.to_owned() },
                _ => Self::Shadow,
            });
        };
        let stateful_set = name.clone();
        match (wanted, source.identity()?, target_node) {
            (Some(MigrationStrategy::ShadowPod), ..) | (None, Identity::Hostname, _) | (None, _, None) => {
                Ok(Self::StandIn { stateful_set })
            }
            (Some(MigrationStrategy::Sequential) | None, Identity::Uid, Some(_)) => Ok(Self::Sequential { stateful_set }),
            (Some(MigrationStrategy::Sequential), Identity::Uid, None) => refuse(
                "migrationStrategy: with Sequential the checkpoint travels before the StatefulSet makes the next pod: name the targetNode, or write ShadowPod",
            ),
            (Some(MigrationStrategy::Sequential), Identity::Hostname, _) => refuse(
                "migrationStrategy: with Sequential source and copy have the same host name, so the consumer must know itself by its pod's UID: mount it \
                 by the downward API, let the consumer read it, and annotate the pod with migration.ms2m.io/identity: uid. Or write ShadowPod",
            ),
        }
    }

    /// The one of a migration under way, by the names in its status.
    pub(crate) fn kept(stateful_set: Option<&str>, source_pod: &str, copy_pod: &str) -> Self {
        let Some(stateful_set) = stateful_set.map(str::to_owned) else { return Self::Shadow };
        let ordinal = copy_pod.strip_prefix(&stateful_set).and_then(|rest| rest.strip_prefix('-'));
        if source_pod == copy_pod {
            Self::Sequential { stateful_set }
        } else if ordinal.is_some_and(|ordinal| !ordinal.is_empty() && ordinal.bytes().all(|digit| digit.is_ascii_digit())) {
            Self::Home { stateful_set }
        } else {
            Self::StandIn { stateful_set }
        }
    }

    /// The StatefulSet whose pod moves.
    #[must_use]
    pub fn stateful_set(&self) -> Option<&str> {
        match self {
            Self::Shadow => None,
            Self::Sequential { stateful_set } | Self::StandIn { stateful_set } | Self::Home { stateful_set } => Some(stateful_set),
        }
    }

    /// Whether the copy's pod is made by the StatefulSet.
    #[must_use]
    pub fn has_successor(&self) -> bool {
        matches!(self, Self::Sequential { .. } | Self::Home { .. })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(annotations: &serde_json::Value) -> SourcePod {
        let meta = json!({ "name": "orders-0", "namespace": "shop", "uid": "u", "annotations": annotations });
        SourcePod::of(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": { "containers": [] } })).unwrap()
    }

    #[test]
    fn a_statefulsets_pod_keeps_its_name_where_the_consumer_can_tell_itself_from_its_copy() {
        let owner = Owner::StatefulSet { name: "orders".to_owned() };
        let stateful_set = "orders".to_owned();
        let (host, uid) = (pod(&json!({})), pod(&json!({ "migration.ms2m.io/identity": "uid" })));
        let choose = |wanted, pod| Strategy::choose(wanted, Some("n2"), &owner, pod);
        assert_eq!(choose(None, &uid).unwrap(), Strategy::Sequential { stateful_set: stateful_set.clone() });
        assert_eq!(choose(None, &host).unwrap(), Strategy::StandIn { stateful_set: stateful_set.clone() });
        assert_eq!(choose(Some(MigrationStrategy::ShadowPod), &uid).unwrap(), Strategy::StandIn { stateful_set });
        let without_node = |wanted| Strategy::choose(wanted, None, &owner, &uid);
        assert!(matches!(without_node(None).unwrap(), Strategy::StandIn { .. }));
        assert!(without_node(Some(MigrationStrategy::Sequential)).unwrap_err().to_string().contains("targetNode"));
        assert!(choose(Some(MigrationStrategy::Sequential), &host).unwrap_err().to_string().contains("migration.ms2m.io/identity: uid"));
        let odd = pod(&json!({ "migration.ms2m.io/identity": "name" }));
        assert_eq!(choose(None, &odd).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_stand_in_goes_home_and_others_have_no_name_to_keep() {
        let stand_in = pod(&json!({ "migration.ms2m.io/stands-in-for": "orders-0" }));
        assert_eq!(Strategy::choose(None, None, &Owner::Bare, &stand_in).unwrap(), Strategy::Home { stateful_set: "orders".to_owned() });
        assert_eq!(Strategy::choose(None, None, &Owner::Bare, &pod(&json!({}))).unwrap(), Strategy::Shadow);
        let refused = Strategy::choose(Some(MigrationStrategy::Sequential), None, &Owner::Bare, &pod(&json!({}))).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn the_strategy_is_found_again_by_the_names() {
        let stateful_set = "orders".to_owned();
        assert_eq!(Strategy::kept(None, "orders-5d-x", "orders-5d-m01234567"), Strategy::Shadow);
        let kept = |source, copy| Strategy::kept(Some("orders"), source, copy);
        assert_eq!(kept("orders-0", "orders-0"), Strategy::Sequential { stateful_set: stateful_set.clone() });
        assert_eq!(kept("orders-0", "orders-0-m01234567"), Strategy::StandIn { stateful_set: stateful_set.clone() });
        assert_eq!(kept("orders-0-m01234567", "orders-0"), Strategy::Home { stateful_set });
    }
}
