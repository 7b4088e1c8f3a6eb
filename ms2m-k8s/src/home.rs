//! [`WayHome`]: the second migration, which brings the state from the stand-in to the StatefulSet's own pod.

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};
use ms2m_core::{Error, ErrorKind, MigrationId, Result};

use crate::api::{MIGRATION_LABEL, StatefulMigration};
use crate::error;
use crate::plan::Plan;
use crate::successor::Successor;

/// Resource names may be this long, in bytes.
const NAME_BYTES_MAX: usize = 253;
const ENDING: &str = "-home";

/// From the stand-in of a plan to the pod that it stands in for.
#[derive(Debug)]
pub(crate) struct WayHome {
    resources: Api<StatefulMigration>,
    plan: Plan,
    runtime_class_name: Option<String>,
}

impl WayHome {
    pub(crate) fn new(client: &Client, plan: &Plan) -> Self {
        Self { resources: Api::namespaced(client.clone(), &plan.namespace), plan: plan.clone(), runtime_class_name: None }
    }

    pub(crate) fn with_runtime_class_name(mut self, name: &str) -> Self {
        self.runtime_class_name = Some(name.to_owned());
        self
    }

    /// Asks for it, and has every pod that the StatefulSet makes meanwhile wait for it. Can be repeated.
    pub(crate) async fn open(&self) -> Result<()> {
        let home = self.ask().await?;
        let migration = MigrationId::new(home.metadata.uid.unwrap_or_default())?;
        let name = home.metadata.name.unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(self.client(), &self.plan.namespace);
        let stand_in = pods.get(&self.plan.copy_pod).await.map_err(|error| error::api(error, "read the stand-in's pod"))?;
        let node = stand_in.spec.and_then(|spec| spec.node_name).unwrap_or_default();
        let at = (self.plan.spec.source_pod.as_str(), node.as_str());
        let successor = Successor::new(&self.client(), &self.plan.namespace, (&migration, &name), at, self.runtime_class_name.as_deref());
        successor.place().await
    }

    fn client(&self) -> Client {
        self.resources.clone().into_client()
    }

    async fn ask(&self) -> Result<StatefulMigration> {
        let plan = &self.plan;
        let end = plan.resource.len().min(NAME_BYTES_MAX - ENDING.len());
        let name = format!("{}{ENDING}", plan.resource.get(..end).unwrap_or(&plan.resource));
        let mut spec = plan.spec.clone();
        spec.source_pod = plan.copy_pod.clone();
        (spec.target_node, spec.migration_strategy) = (None, None);
        let mut home = StatefulMigration::new(&name, spec);
        home.metadata.labels = Some([(MIGRATION_LABEL.to_owned(), plan.migration.to_string())].into());
        match self.resources.create(&PostParams::default(), &home).await {
            Ok(made) => Ok(made),
            Err(kube::Error::Api(status)) if status.code == 409 => self.known(&name).await,
            Err(error) => Err(error::api(error, "create the migration that brings the state home").with("migration", name)),
        }
    }

    async fn known(&self, name: &str) -> Result<StatefulMigration> {
        let found = self.resources.get(name).await.map_err(|error| error::api(error, "read the migration that brings the state home"))?;
        let of = found.metadata.labels.as_ref().and_then(|labels| labels.get(MIGRATION_LABEL));
        if of.map(String::as_str) == Some(self.plan.migration.as_str()) {
            return Ok(found);
        }
        let message = "a migration of the name under which the state would be brought home exists: delete it";
        Err(Error::retry(ErrorKind::AlreadyExists, message).with("migration", name))
    }
}
