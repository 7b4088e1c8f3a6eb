//! Containers of runc or crun, and their copies.

use std::sync::Arc;

use ms2m_core::{MigrationId, RestoreTarget, Result};
use ms2m_criu::criu::Criu;
use ms2m_criu::local::{LocalTarget, Template};
use ms2m_criu::runtime::{Container, ContainerState, ContainerStatus, Flavor, Runtime, RuntimeSource};
use ms2m_criu::standstill::Standstill;

use super::args::MigrateArgs;
use super::group;
use super::local::{Parties, instance, make_private, place};
use crate::file_store::{read_json, write_json};

/// Both ends. Of a migration that was begun the source may have ended.
pub(super) async fn parties(args: &MigrateArgs, flavor: Flavor, migration: &MigrationId, begun: bool) -> Result<Parties> {
    let runtime = runtime(args, flavor);
    let file = place(args, migration).join("templates.json");
    let known = if begun { read_json(&file)? } else { None };
    let (templates, instance): (Vec<Template>, _) = match known {
        // Who the source is stands in the migration's state.
        Some(templates) => (templates, ms2m_core::InstanceId::new(args.source())?),
        None => {
            let consumer = Container::inspect(&runtime, args.source()).await?;
            (group::templates(args, &runtime).await?, instance(args, &consumer.proc_root())?)
        }
    };
    let source = RuntimeSource::open(runtime.clone(), Criu::new(&args.criu), &args.work_dir, &group::members(args)).await?;
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
