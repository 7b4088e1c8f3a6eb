//! `ms2m list` and `ms2m describe`.

use std::io::{self, Write};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use ms2m_core::{Error, ErrorKind, Phase, Result};
use ms2m_k8s::api::{StatefulMigration, StatefulMigrationStatus};

use super::args::{DescribeArgs, ListArgs};
use super::client::{connect, migrations, refused};
use super::columns::columns;
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
    // The latest is what somebody looks for: it stands next to the prompt.
    found.sort_by_key(|migration| migration.creation_timestamp().map(|created| created.0));
    let mut out = io::stdout().lock();
    let written = match args.output {
        Output::Json => serde_json::to_writer_pretty(&mut out, &found).map_err(io::Error::from).and_then(|()| writeln!(out)),
        Output::Text => table(&mut out, &found, args.all_namespaces, Timestamp::now()),
    };
    told(written)
}

fn table(out: &mut impl Write, found: &[StatefulMigration], namespaces: bool, now: Timestamp) -> io::Result<()> {
    if found.is_empty() {
        return writeln!(out, "no migrations");
    }
    let mut rows = vec![["MIGRATION", "POD", "FROM", "TO", "PHASE", "AGE", "MESSAGE"].map(str::to_owned)];
    for migration in found {
        let status = migration.status.clone().unwrap_or_default();
        let name = match migration.namespace() {
            Some(namespace) if namespaces => format!("{namespace}/{}", migration.name_any()),
            _ => migration.name_any(),
        };
        let unknown = || "?".to_owned();
        let to = status.target_node.clone().or_else(|| migration.spec.target_node.clone()).unwrap_or_else(unknown);
        let from = status.source_node.clone().unwrap_or_else(unknown);
        let age = migration.creation_timestamp().map_or_else(unknown, |created| age(now.duration_since(created.0)));
        rows.push([name, migration.spec.source_pod.clone(), from, to, phase(&status), age, message(&status)]);
    }
    columns(out, &rows)
}

fn phase(status: &StatefulMigrationStatus) -> String {
    status.phase.map_or_else(|| "Pending".to_owned(), |phase| phase.to_string())
}

/// What there is to say: why it waits or has ended, else how far it is.
fn message(status: &StatefulMigrationStatus) -> String {
    let progress = || status.progress.as_ref().map(|progress| progress.summary.clone());
    status.message.clone().or_else(progress).unwrap_or_default()
}

/// In its largest unit.
fn age(age: SignedDuration) -> String {
    let seconds = age.as_secs().max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
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
    let mut line = |name: &str, value: Option<String>| value.map_or(Ok(()), |value| writeln!(out, "{name:<10} {value}"));
    let on = |node: &Option<String>| node.clone().unwrap_or_else(|| "no node yet".to_owned());
    line("migration", Some(migration.name_any()))?;
    line("phase", Some(phase(&status)))?;
    line("message", status.message.clone())?;
    line("progress", status.progress.as_ref().map(|progress| progress.summary.clone()).filter(|summary| !summary.is_empty()))?;
    line("source", Some(format!("{} on {}", spec.source_pod, on(&status.source_node))))?;
    line("copy", status.target_pod.as_ref().map(|pod| format!("{pod} on {}", on(&status.target_node))))?;
    line("owner", status.deployment_name.as_ref().map(|name| format!("Deployment {name}")))?;
    line("owner", status.stateful_set_name.as_ref().map(|name| format!("StatefulSet {name}")))?;
    line("queue", Some(spec.message_queue_config.queue_name.clone()))?;
    line("begun", status.start_time.as_ref().map(|time| time.0.to_string()))?;
    line("ended", status.completion_time.as_ref().map(|time| time.0.to_string()))?;
    line("took", took(&status))?;
    let conditions = status.conditions.iter().map(|condition| {
        let holds = match condition.status.as_str() {
            "True" => "yes",
            "False" => "no",
            _ => "not known yet",
        };
        [format!("  {}", condition.type_), holds.to_owned(), condition.reason.clone(), condition.message.clone()]
    });
    let conditions: Vec<_> = conditions.collect();
    if !conditions.is_empty() {
        writeln!(out, "conditions")?;
    }
    columns(out, &conditions)
}

/// The phases in the order in which they come.
fn took(status: &StatefulMigrationStatus) -> Option<String> {
    let phases = [Phase::Pending, Phase::Checkpointing, Phase::Transferring, Phase::Restoring, Phase::Replaying, Phase::Finalizing];
    let phases = phases.map(|phase| phase.to_string());
    let took: Vec<_> = phases.iter().filter_map(|phase| Some(format!("{phase} {}", status.phase_timings.get(phase)?))).collect();
    Some(took.join(", ")).filter(|took| !took.is_empty())
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn migration(name: &str, status: &Value) -> StatefulMigration {
        serde_json::from_value(json!({
            "apiVersion": "migration.ms2m.io/v1alpha1", "kind": "StatefulMigration",
            "metadata": { "name": name, "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "sourcePod": "orders-5d-x", "transferMode": "Direct", "targetNode": "n2",
                "messageQueueConfig": { "queueName": "orders", "brokerUrl": "amqp://b" } },
            "status": status,
        }))
        .unwrap()
    }

    fn shown(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut shown = Vec::new();
        write(&mut shown).unwrap();
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn a_list_has_columns() {
        let moved = json!({ "phase": "Completed", "message": "moved in 900.0 ms", "sourceNode": "n1", "targetNode": "n2" });
        let found = [migration("orders-5d-x-abcde", &moved), migration("b", &json!({}))];
        let now = "2026-01-01T00:05:00Z".parse().unwrap();
        assert_eq!(
            shown(|out| table(out, &found, true, now)),
            "MIGRATION               POD          FROM  TO  PHASE      AGE  MESSAGE\n\
             shop/orders-5d-x-abcde  orders-5d-x  n1    n2  Completed  5m   moved in 900.0 ms\n\
             shop/b                  orders-5d-x  ?     n2  Pending    5m\n"
        );
        assert_eq!(shown(|out| table(out, &[], false, now)), "no migrations\n");
    }

    #[test]
    fn a_description_goes_in_the_order_of_what_happens() {
        let status = json!({
            "phase": "Restoring", "sourceNode": "n1", "targetPod": "orders-5d-m1", "deploymentName": "orders",
            "phaseTimings": { "Checkpointing": "0.164s", "Pending": "0.700s", "Transferring": "0.050s" },
            "conditions": [{ "type": "TargetPrepared", "status": "True", "reason": "NodeWaits", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
        });
        let shown = shown(|out| text(out, &migration("m", &status)));
        assert!(shown.contains("took       Pending 0.700s, Checkpointing 0.164s, Transferring 0.050s\n"), "{shown}");
        assert!(shown.contains("copy       orders-5d-m1 on no node yet\n"), "{shown}");
        assert!(shown.ends_with("conditions\n  TargetPrepared  yes  NodeWaits\n"), "{shown}");
    }
}
