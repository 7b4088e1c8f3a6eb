//! `ms2m cancel`: deletes the resource, which rolls the migration back unless its queue has changed hands.

use kube::api::DeleteParams;
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::{Resource as _, ResourceExt as _};
use ms2m_core::{Error, ErrorKind, Phase, Result};

use super::args::CancelArgs;
use super::client::{connect, migrations, refused};
use crate::exit::Exit;

pub(super) async fn cancel(args: &CancelArgs) -> Result<Exit> {
    let migrations = migrations(&connect(&args.cluster).await?);
    let name = &args.migration;
    let migration = migrations.get(name).await.map_err(refused("look at the migration"))?;
    let phase = migration.status.as_ref().and_then(|status| status.phase);
    if phase.is_some_and(Phase::is_final) {
        let message = "the migration has ended already, and is not undone by this; move the pod back instead";
        return Err(Error::fatal(ErrorKind::Invalid, message).with("migration", name));
    }
    migrations.delete(name, &DeleteParams::default()).await.map_err(refused("cancel the migration"))?;
    if args.no_wait {
        return Ok(Exit::Done);
    }
    let uid = migration.meta().uid.clone().unwrap_or_default();
    await_condition(migrations, name, is_deleted(&uid)).await.map_err(|error| {
        let message = "whether the migration has ended cannot be watched any more; `ms2m list` shows it as long as it is there";
        Error::retry(ErrorKind::Unavailable, message).caused_by(error)
    })?;
    eprintln!("ms2m: {} is gone: rolled back, or completed where its queue had changed hands already", migration.name_any());
    Ok(Exit::Done)
}
