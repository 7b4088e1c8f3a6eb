//! [`StatusStore`]: the engine's state in the status of its resource.

use async_trait::async_trait;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use ms2m_core::{Cancel, Error, ErrorKind, MigrationId, MigrationState, Result, StateStore};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::api::{StatefulMigration, StatefulMigrationStatus};
use crate::error;
use crate::status::take_in;

/// What the store writes of the status; other fields have other writers.
const WRITTEN: [&str; 9] =
    ["observedGeneration", "phase", "message", "conditions", "checkpoint", "phaseTimings", "startTime", "completionTime", "report"];

/// Keeps the state of one migration in `status.engine`, and tells it in the rest of the status.
///
/// A resource that somebody has removed in spite of its finalizer cancels the migration, which then ends without being kept.
#[derive(Debug)]
pub struct StatusStore {
    resources: Api<StatefulMigration>,
    name: String,
    migration: MigrationId,
    cancel: Cancel,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    status: StatefulMigrationStatus,
    /// Since when the phase has lasted.
    entered: Instant,
    exists: bool,
    gone: Option<MigrationState>,
}

impl StatusStore {
    /// The store of one resource, as it was read last. `cancel` is that of its driver.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a resource that no server has created.
    pub fn new(client: &Client, resource: &StatefulMigration, cancel: Cancel) -> Result<Self> {
        let meta = &resource.metadata;
        let status = StatefulMigrationStatus { observed_generation: meta.generation, ..resource.status.clone().unwrap_or_default() };
        let namespace = meta.namespace.as_deref().unwrap_or("default");
        Ok(Self {
            resources: Api::namespaced(client.clone(), namespace),
            name: meta.name.clone().unwrap_or_default(),
            migration: MigrationId::new(meta.uid.clone().unwrap_or_default())?,
            cancel,
            kept: Mutex::new(Kept { status, entered: Instant::now(), exists: resource.status.is_some(), gone: None }),
        })
    }

    /// Whole fields are replaced: a merge would mix an old and a new state of the engine.
    fn patch(&self, status: &StatefulMigrationStatus, exists: bool) -> Result<json_patch::Patch> {
        let bad = |error: serde_json::Error| Error::fatal(ErrorKind::Invariant, "the status makes no JSON").caused_by(error);
        let status = serde_json::to_value(status).map_err(bad)?;
        let mut steps = vec![json!({ "op": "test", "path": "/metadata/uid", "value": self.migration })];
        if exists {
            let fields = WRITTEN.iter().chain(&["engine"]).filter_map(|field| Some((field, status.get(field)?)));
            steps.extend(fields.map(|(field, value)| json!({ "op": "add", "path": format!("/status/{field}"), "value": value })));
        } else {
            steps.push(json!({ "op": "add", "path": "/status", "value": status }));
        }
        serde_json::from_value(Value::Array(steps)).map_err(bad)
    }

    async fn read(&self) -> Result<Option<StatefulMigration>> {
        let found = self.resources.get_opt(&self.name).await.map_err(|error| error::api(error, "read the migration"))?;
        Ok(found.filter(|resource| resource.metadata.uid.as_deref() == Some(self.migration.as_str())))
    }
}

#[async_trait]
impl StateStore for StatusStore {
    async fn save(&self, state: &MigrationState) -> Result<()> {
        let mut kept = self.kept.lock().await;
        if kept.gone.is_some() {
            kept.gone = Some(state.clone());
            return Ok(());
        }
        let in_phase = kept.entered.elapsed();
        let mut status = kept.status.clone();
        take_in(&mut status, state, in_phase)?;
        let patch = Patch::Json::<()>(self.patch(&status, kept.exists)?);
        match self.resources.patch_status(&self.name, &PatchParams::default(), &patch).await {
            Ok(_) => {
                if kept.status.phase != status.phase {
                    kept.entered = Instant::now();
                }
                kept.status = status;
                kept.exists = true;
                Ok(())
            }
            Err(refused) => {
                let refused = error::api(refused, "keep the state of the migration in its status");
                if matches!(refused.kind(), ErrorKind::NotFound | ErrorKind::Invalid) && self.read().await?.is_none() {
                    self.cancel.cancel("the resource was removed in spite of its finalizer");
                    kept.gone = Some(state.clone());
                    return Ok(());
                }
                Err(refused)
            }
        }
    }

    async fn load(&self, migration: &MigrationId) -> Result<Option<MigrationState>> {
        if *migration != self.migration {
            return Ok(None);
        }
        if let Some(state) = &self.kept.lock().await.gone {
            return Ok(Some(state.clone()));
        }
        self.read().await?.as_ref().map_or(Ok(None), state_of)
    }

    async fn remove(&self, _: &MigrationId) -> Result<()> {
        let mut kept = self.kept.lock().await;
        let patch = Patch::Merge(json!({ "metadata": { "uid": self.migration }, "status": { "engine": null } }));
        match self.resources.patch_status(&self.name, &PatchParams::default(), &patch).await {
            Ok(_) => {
                kept.status.engine = None;
                Ok(())
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error::api(error, "forget the state of the migration")),
        }
    }
}

/// The state that a resource keeps.
pub(crate) fn state_of(resource: &StatefulMigration) -> Result<Option<MigrationState>> {
    let Some(engine) = resource.status.as_ref().and_then(|status| status.engine.as_deref()) else { return Ok(None) };
    serde_json::from_str(engine).map(Some).map_err(|error| {
        Error::fatal(ErrorKind::Corrupt, "status.engine cannot be read: it was changed by hand, or written by a newer version")
            .caused_by(error)
    })
}
