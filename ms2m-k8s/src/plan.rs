//! [`Plan`]: what is settled before a migration begins.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::{Api, Client};
use ms2m_core::{Error, ErrorKind, HandoverChoice, InstanceId, MigrationId, MigrationSpec, Result};

use crate::api::annotations::CONTAINERS;
use crate::api::{
    CheckpointDriver, HandoverMode, MessageQueueConfig, Placement, RestoreDriver, STANDS_IN_FOR, StatefulMigration, StatefulMigrationSpec,
};
use crate::error;
use crate::owner::Owner;
use crate::pin::Pin;
use crate::pod::{Claims, SourcePod, copy_name, obstacles};
use crate::strategy::Strategy;
use crate::successor::is_ruled;

/// Everything that drivers need to know of one migration. It can be made again from the resource alone, also when the source is gone.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// The resource's UID: the key of everything that is done.
    pub migration: MigrationId,
    /// The namespace of the resource and of both pods.
    pub namespace: String,
    /// The resource's name.
    pub resource: String,
    /// What is asked for.
    pub spec: StatefulMigrationSpec,
    /// Which pod of the name in the spec is the source.
    pub source_uid: String,
    /// Where it runs.
    pub source_node: String,
    /// The consumer's container.
    pub container: String,
    /// The containers whose state moves, in the pod's order; the consumer's is one of them.
    pub containers: Vec<String>,
    /// The copy's pod, which is also its host name.
    pub copy_pod: String,
    /// The Deployment of the source.
    pub deployment: Option<String>,
    /// In which order the two pods live.
    pub strategy: Strategy,
}

impl Plan {
    /// Looks at the source and settles everything.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] with all that cannot follow; [`ErrorKind::NotFound`] without such a pod or container.
    pub async fn make(client: &Client, resource: &StatefulMigration) -> Result<(Self, InstanceId)> {
        let (migration, namespace, name) = identity(resource)?;
        let spec = resource.spec.clone();
        let source = SourcePod::read(client, &namespace, &spec.source_pod).await?;
        let container = source.container(spec.container_name.as_deref())?.to_owned();
        let containers = source.together(&container)?;
        moves_as_asked(&spec, &containers)?;
        let owner = Owner::of(client, source.pod()).await?;
        let strategy = Strategy::choose(spec.migration_strategy, spec.target_node.as_deref(), &owner, &source)?;
        // A stand-in's way home may be as short as that.
        let target_node = spec.target_node.as_deref().filter(|_| !matches!(strategy, Strategy::Home { .. }));
        let obstacles = obstacles(&source, &containers, target_node, &claims(client, &source).await?);
        if !obstacles.is_empty() {
            return Err(Error::fatal(ErrorKind::Unsupported, format!("the source cannot be migrated: {}", obstacles.join("; "))));
        }
        if spec.placement == Placement::Pin {
            Pin::of(client, &namespace, &owner)?.check().await?;
        }
        if strategy.stateful_set().is_some() {
            // Once a stand-in serves, or the source has ended, it is too late.
            is_ruled(client).await?;
        }
        let copy_pod = match &strategy {
            Strategy::Shadow | Strategy::StandIn { .. } => copy_name(&source, &migration),
            Strategy::Sequential { .. } => source.name().to_owned(),
            Strategy::Home { .. } => source.annotation(STANDS_IN_FOR).unwrap_or_default().to_owned(),
        };
        let instance = source.instance()?;
        let deployment = match owner {
            Owner::ReplicaSet(set) => set.deployment,
            Owner::Bare | Owner::StatefulSet { .. } => None,
        };
        let (source_uid, source_node) = (source.uid().to_owned(), source.node().unwrap_or_default().to_owned());
        let plan = Self {
            migration,
            namespace,
            resource: name,
            spec,
            source_uid,
            source_node,
            container,
            containers,
            copy_pod,
            deployment,
            strategy,
        };
        Ok((plan, instance))
    }

    /// The plan that the status of a migration under way keeps.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when something is missing from it.
    pub fn kept(resource: &StatefulMigration) -> Result<Self> {
        let (migration, namespace, name) = identity(resource)?;
        let status = resource.status.clone().unwrap_or_default();
        let missing = |field: &str| {
            Error::fatal(ErrorKind::Corrupt, format!("the status of a migration under way has no {field}: it was changed by hand"))
        };
        let copy_pod = status.target_pod.ok_or_else(|| missing("targetPod"))?;
        let strategy = Strategy::kept(status.stateful_set_name.as_deref(), &resource.spec.source_pod, &copy_pod);
        let container = status.container_name.ok_or_else(|| missing("containerName"))?;
        let containers = if status.container_names.is_empty() { vec![container.clone()] } else { status.container_names };
        Ok(Self {
            migration,
            namespace,
            resource: name,
            spec: resource.spec.clone(),
            source_uid: status.source_pod_uid.ok_or_else(|| missing("sourcePodUID"))?,
            source_node: status.source_node.ok_or_else(|| missing("sourceNode"))?,
            container,
            containers,
            copy_pod,
            deployment: status.deployment_name,
            strategy,
        })
    }

    /// The migration as the engine runs it, with the source's consumer known as `source`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the copy's name is no name.
    pub fn engine(&self, source: InstanceId) -> Result<MigrationSpec> {
        let spec = &self.spec;
        let queue = spec.message_queue_config.queue_name.clone();
        let mut engine = MigrationSpec::new(self.migration.clone(), queue, source, InstanceId::new(self.copy_pod.clone())?);
        engine.mode = match (spec.handover.mode, &self.strategy) {
            // What the source would do until it is ended, the copy would have to do again.
            (HandoverMode::Auto, Strategy::Sequential { .. }) => HandoverChoice::Hold,
            (mode, _) => mode.into(),
        };
        engine.pre_dump = spec.pre_dump.policy();
        engine.bytes_per_s_max = spec.bytes_per_second_max.and_then(std::num::NonZeroU64::new);
        engine.deadlines = spec.timeouts.deadlines(&spec.handover, spec.replay_cutoff_seconds);
        Ok(engine)
    }

    /// What no two migrations may work on at once: the queue with its broker.
    #[must_use]
    pub fn queue_key(resource: &StatefulMigration) -> String {
        Self::key_of_queue(resource.metadata.namespace.as_deref().unwrap_or("default"), &resource.spec.message_queue_config)
    }

    pub(crate) fn key_of_queue(namespace: &str, queue: &MessageQueueConfig) -> String {
        let broker = match (&queue.broker_url, &queue.broker_secret_ref) {
            // Without its credentials, which do not make another broker of it.
            (Some(url), _) => url.rsplit_once('@').map_or(url.as_str(), |(_, place)| place).to_owned(),
            (None, Some(secret)) => format!("{namespace}/{}/{}", secret.name, secret.key),
            (None, None) => String::new(),
        };
        format!("{broker} {}", queue.queue_name)
    }

    /// The broker's URL, which may hold a password: never to be logged.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] without the Secret or its key.
    pub async fn broker_url(&self, client: &Client) -> Result<String> {
        let queue = &self.spec.message_queue_config;
        if let Some(url) = &queue.broker_url {
            return Ok(url.clone());
        }
        let wanted = queue.broker_secret_ref.as_ref().ok_or_else(|| Error::fatal(ErrorKind::Invalid, "the migration names no broker"))?;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &self.namespace);
        let missing = |what: &str| {
            Error::fatal(ErrorKind::NotFound, format!("there is no {what}: it must hold the broker's URL"))
                .with("secret", &wanted.name)
                .with("key", &wanted.key)
        };
        let secret = secrets.get_opt(&wanted.name).await.map_err(|error| error::api(error, "read the broker's Secret"))?;
        let secret = secret.ok_or_else(|| missing("such Secret in the namespace of the migration"))?;
        let value = secret.data.unwrap_or_default().remove(&wanted.key).ok_or_else(|| missing("such key in the Secret"))?;
        let text = String::from_utf8(value.0).map_err(|_| Error::fatal(ErrorKind::Invalid, "the broker's URL in the Secret is no text"))?;
        Ok(text.trim().to_owned())
    }
}

/// Whether that many containers can move by the drivers that are asked for.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for more than one by an image.
fn moves_as_asked(spec: &StatefulMigrationSpec, containers: &[String]) -> Result<()> {
    let field = match (spec.restore_driver, spec.checkpoint_driver) {
        _ if containers.len() < 2 => return Ok(()),
        (RestoreDriver::Image, _) => "restoreDriver: an image",
        (_, CheckpointDriver::Kubelet) => "checkpointDriver: kubelet's checkpoint",
        _ => return Ok(()),
    };
    let message = format!(
        "{field} is of one container, and {} shall move together; leave it out, or name one in the annotation {CONTAINERS}",
        containers.join(", ")
    );
    Err(Error::fatal(ErrorKind::Unsupported, message))
}

fn identity(resource: &StatefulMigration) -> Result<(MigrationId, String, String)> {
    let meta = &resource.metadata;
    let migration = MigrationId::new(meta.uid.clone().unwrap_or_default())?;
    Ok((migration, meta.namespace.clone().unwrap_or_else(|| "default".to_owned()), meta.name.clone().unwrap_or_default()))
}

async fn claims(client: &Client, source: &SourcePod) -> Result<Claims> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), source.namespace());
    let volumes = source.pod().spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut found = Claims::new();
    for claim in volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref()) {
        let kept = claims.get_opt(&claim.claim_name).await.map_err(|error| error::api(error, "read a claim of the source"))?;
        let modes = kept.and_then(|kept| kept.spec).and_then(|spec| spec.access_modes).unwrap_or_default();
        found.insert(claim.claim_name.clone(), modes);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn several_containers_do_not_move_by_an_image() {
        let spec = |restore: &str, checkpoint: &str| {
            serde_json::from_value::<StatefulMigrationSpec>(json!({
                "sourcePod": "orders-1", "messageQueueConfig": { "queueName": "orders", "brokerUrl": "amqp://b" },
                "restoreDriver": restore, "checkpointDriver": checkpoint,
            }))
            .unwrap()
        };
        let (one, two) = (["orders".to_owned()], ["orders", "cache"].map(str::to_owned));
        for (restore, checkpoint, said) in [("Image", "Auto", "restoreDriver: "), ("Auto", "Kubelet", "checkpointDriver: ")] {
            moves_as_asked(&spec(restore, checkpoint), &one).unwrap();
            let error = moves_as_asked(&spec(restore, checkpoint), &two).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(said) && error.to_string().contains("orders, cache"), "{error}");
        }
        moves_as_asked(&spec("Runtime", "Auto"), &two).unwrap();
        moves_as_asked(&spec("Auto", "Auto"), &two).unwrap();
    }
}
