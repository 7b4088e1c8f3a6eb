//! `ms2m list` and `ms2m describe`.

use std::io::{self, Write};

use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use ms2m_core::{Error, ErrorKind, Result};
use ms2m_k8s::api::StatefulMigration;

use super::args::{DescribeArgs, ListArgs};
use super::client::{connect, migrations, refused};
use crate::demo::Output;
use crate::exit::Exit;

/// More are asked for page by page.
const PAGE: u32 = 500;

pub(super) async fn list(args: &ListArgs) -> Result<Exit> {
    let client = connect(&args.cluster).await?;
    let api: Api<StatefulMigration> = if args.all_namespaces { Api::all(client) } else { migrations(&client) };
    let mut found = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = api.list(&page).await.map_err(refused("list the migrations"))?;
        page.continue_token = list.metadata.continue_.clone().filter(|token| !token.is_empty());
        found.extend(list.items);
        if page.continue_token.is_none() {
            break;
        }
    }
    let mut out = io::stdout().lock();
    let written = match args.output {
        Output::Json => serde_json::to_writer_pretty(&mut out, &found).map_err(io::Error::from).and_then(|()| writeln!(out)),
        Output::Text => table(&mut out, &found, args.all_namespaces),
    };
    told(written)
}

fn table(out: &mut impl Write, found: &[StatefulMigration], namespaces: bool) -> io::Result<()> {
    if found.is_empty() {
        return writeln!(out, "no migrations");
    }
    for migration in found {
        let status = migration.status.clone().unwrap_or_default();
        let phase = status.phase.map_or_else(|| "Pending".to_owned(), |phase| phase.to_string());
        let gap = status.report.as_ref().and_then(|report| report["durations_ms"]["cutover_gap"].as_f64());
        let gap = gap.map_or_else(String::new, |gap| format!("  gap {gap:.1} ms"));
        let to = status.target_node.as_deref().or(migration.spec.target_node.as_deref()).unwrap_or("?");
        let name = match migration.namespace() {
            Some(namespace) if namespaces => format!("{namespace}/{}", migration.name_any()),
            _ => migration.name_any(),
        };
        let why = status.message.map_or_else(String::new, |message| format!("  {message}"));
        writeln!(out, "{name}  {} -> {to}  {phase}{gap}{why}", migration.spec.source_pod)?;
    }
    Ok(())
}

pub(super) async fn describe(args: &DescribeArgs) -> Result<Exit> {
    let migrations = migrations(&connect(&args.cluster).await?);
    let migration = migrations.get(&args.migration).await.map_err(refused("look at the migration"))?;
    let mut out = io::stdout().lock();
    let written = match args.output {
        Output::Json => serde_json::to_writer_pretty(&mut out, &migration).map_err(io::Error::from).and_then(|()| writeln!(out)),
        Output::Text => text(&mut out, &migration),
    };
    told(written)
}

fn text(out: &mut impl Write, migration: &StatefulMigration) -> io::Result<()> {
    let (spec, status) = (&migration.spec, migration.status.clone().unwrap_or_default());
    let mut line = |name: &str, value: Option<String>| value.map_or(Ok(()), |value| writeln!(out, "{name:<12} {value}"));
    line("migration", Some(migration.name_any()))?;
    line("phase", status.phase.map(|phase| phase.to_string()))?;
    line("message", status.message)?;
    line("source", Some(format!("{} on {}", spec.source_pod, status.source_node.as_deref().unwrap_or("?"))))?;
    line("copy", status.target_pod.map(|pod| format!("{pod} on {}", status.target_node.as_deref().unwrap_or("?"))))?;
    line("owner", status.deployment_name.map(|name| format!("Deployment {name}")))?;
    line("owner", status.stateful_set_name.map(|name| format!("StatefulSet {name}")))?;
    line("queue", Some(spec.message_queue_config.queue_name.clone()))?;
    line("progress", status.progress.and_then(|progress| Some(progress.summary).filter(|summary| !summary.is_empty())))?;
    for condition in &status.conditions {
        line(&condition.type_, Some(format!("{} {} {}", condition.status, condition.reason, condition.message)))?;
    }
    for (phase, took) in &status.phase_timings {
        line(phase, Some(took.clone()))?;
    }
    Ok(())
}

/// Whoever reads may have seen enough.
pub(super) fn told(written: io::Result<()>) -> Result<Exit> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::fatal(ErrorKind::Other, "the answer cannot be printed").caused_by(error))
        }
        _ => Ok(Exit::Done),
    }
}
