//! Containers of runc or crun, and their copies.

use std::sync::Arc;

use ms2m_core::{MigrationId, RestoreTarget, Result};
use ms2m_criu::criu::Criu;
use ms2m_criu::local::{LocalTarget, Template};
use ms2m_criu::runtime::{ContainerState, ContainerStatus, Flavor, Runtime, RuntimeSource};
use ms2m_criu::standstill::Standstill;

use super::args::MigrateArgs;
use super::group;
use super::local::{Parties, instance, make_private, place};
use crate::file_store::{read_json, write_json};

/// Both ends. Of a migration that was begun the source may have ended.
pub(super) async fn parties(args: &MigrateArgs, flavor: Flavor, migration: &MigrationId, begun: bool) -> Result<Parties> {
    let runtime = runtime(args, flavor);
    let file = place(args, migration).join("templates.json");
    let known: Option<Vec<Template>> = if begun { read_json(&file)? } else { None };
    let criu = Criu::new(&args.criu);
    let (templates, instance, source) = match known {
        // Who the source is stands in the migration's state. It may have ended.
        Some(templates) => {
            let source = RuntimeSource::open(runtime.clone(), criu, &args.work_dir, &group::members(args)).await?;
            (templates, ms2m_core::InstanceId::new(args.source())?, source)
        }
        None => {
            let containers = group::inspect(args, &runtime).await?;
            let consumer = containers.first().map(|(_, container)| container.proc_root()).unwrap_or_default();
            let (templates, instance) = (group::templates(args, &containers)?, instance(args, &consumer)?);
            (templates, instance, RuntimeSource::of(runtime.clone(), criu, &args.work_dir, containers).await?)
        }
    };
    if !begun {
        make_private(&place(args, migration))?;
        write_json(&file, &templates)?;
    }
    let target: Arc<dyn RestoreTarget> = Arc::new(LocalTarget::new(runtime.clone(), &args.work_dir, templates));
    let standstill = Standstill::new(runtime, args.sources.clone(), &args.work_dir, Arc::clone(&target));
    Ok(Parties { source: Arc::new(source), target, standstill, instance })
}

/// Whether the source has ended; of several, the one that consumes.
pub(super) async fn is_gone(args: &MigrateArgs, flavor: Flavor) -> bool {
    let ended = |state: ContainerState| state.status == ContainerStatus::Stopped;
    // A runtime that does not answer says nothing about it.
    runtime(args, flavor).state(args.source()).await.is_ok_and(|state| state.is_none_or(ended))
}

fn runtime(args: &MigrateArgs, flavor: Flavor) -> Runtime {
    let runtime = Runtime::new(flavor);
    match &args.runtime_root {
        Some(root) => runtime.with_root(root),
        None => runtime,
    }
}
