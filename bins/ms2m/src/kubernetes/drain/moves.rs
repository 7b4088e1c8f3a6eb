//! The migrations of a drain, some at a time.

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use ms2m_core::{Error, ErrorKind, MigrationReport, Outcome, Phase, Result};
use ms2m_k8s::api::{StatefulMigration, StatefulMigrationSpec, StatefulMigrationStatus};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::client::refused;
use super::super::consumed::{Said, consumed, container};
use super::super::create::make;
use super::super::follow::{Ended, until_ended};
use super::super::shown::Lines;
use super::limit::Limit;
use super::sorted::Name;
use crate::exit::Exit;
use crate::migrate::exit;

/// What became of one opted-in pod.
#[derive(Debug, Serialize)]
pub(super) struct Move {
    #[serde(flatten)]
    pub(super) name: Name,
    /// The resource, once there is one.
    pub(super) migration: Option<String>,
    /// `moved`, `not_proven_exact`, `not_moved`, `under_way` or `not_begun`.
    pub(super) end: End,
    pub(super) target_node: Option<String>,
    pub(super) target_pod: Option<String>,
    /// Why it has not moved.
    pub(super) reason: Option<String>,
    pub(super) report: Option<Box<MigrationReport>>,
}

/// How far it got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    Moved,
    /// The copy goes on, but the digests of both sides were not compared, or differ.
    NotProvenExact,
    NotMoved,
    UnderWay,
    NotBegun,
}

impl Move {
    fn new(name: Name, end: End, reason: Option<String>) -> Self {
        Self { name, migration: None, end, target_node: None, target_pod: None, reason, report: None }
    }

    /// The source's pod is to go away by itself.
    pub(super) fn has_moved(&self) -> bool {
        matches!(self.end, End::Moved | End::NotProvenExact)
    }
}

/// Moves all of them. A migration that there is already for one of them is followed instead.
pub(super) async fn all(
    client: &Client,
    pods: &[Pod],
    to: Option<&str>,
    at_once: usize,
    limit: &Limit,
    lines: &Lines,
) -> Result<Vec<Move>> {
    if pods.is_empty() {
        return Ok(Vec::new());
    }
    let known = under_way(client).await?;
    let one = async |pod: &Pod| {
        let there = known.iter().find(|known| known.namespace() == pod.namespace() && known.spec.source_pod == pod.name_any());
        let ended = one(client, pod, to, there.map(ResourceExt::name_any), limit, lines).await;
        lines.say(&told(&ended));
        ended
    };
    // Lazily: the next one begins when one of them has ended.
    let mut all: Vec<_> = futures_util::stream::iter(pods).map(one).buffer_unordered(at_once).collect().await;
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

async fn under_way(client: &Client) -> Result<Vec<StatefulMigration>> {
    let all: Api<StatefulMigration> = Api::all(client.clone());
    let mut found = all.list(&ListParams::default()).await.map_err(refused("list the migrations"))?.items;
    found.retain(|one| !one.status.as_ref().and_then(|status| status.phase).is_some_and(Phase::is_final));
    Ok(found)
}

async fn one(client: &Client, pod: &Pod, to: Option<&str>, there: Option<String>, limit: &Limit, lines: &Lines) -> Move {
    let name = Name::of(pod);
    if let Some(why) = limit.reached().await {
        return Move::new(name, End::NotBegun, Some(why));
    }
    let migrations: Api<StatefulMigration> = Api::namespaced(client.clone(), &name.namespace);
    let made = match there {
        Some(there) => Ok(there),
        None => match spec(pod, to) {
            Ok(spec) => make(&migrations, &name.pod, spec).await.map(|made| made.name_any()),
            Err(error) => Err(error),
        },
    };
    let migration = match made {
        Ok(migration) => migration,
        Err(error) => return Move::new(name, End::NotBegun, Some(error.to_string())),
    };
    let shown = lines.line(&name.to_string());
    let followed = limit.or_at_once(until_ended(migrations, &migration, &shown)).await;
    shown.clear();
    let ended = match followed {
        Ok(Ok((status, ended))) => of(name, status, ended),
        // Deleted, and so rolled back, or committed: the pod says which.
        Ok(Err(error)) if error.kind() == ErrorKind::Cancelled => Move::new(name, End::NotMoved, Some(error.to_string())),
        Ok(Err(error)) => Move::new(name, End::UnderWay, Some(error.to_string())),
        Err(why) => Move::new(name, End::UnderWay, Some(why)),
    };
    Move { migration: Some(migration), ..ended }
}

fn of(name: Name, status: StatefulMigrationStatus, ended: Ended) -> Move {
    let moved = match ended {
        Ended::Refused(reason) => Move::new(name, End::NotMoved, Some(reason)),
        Ended::Run(report) => {
            let end = match (report.outcome, exit(&report)) {
                (Outcome::Completed, Exit::Done) => End::Moved,
                (Outcome::Completed, _) => End::NotProvenExact,
                _ => End::NotMoved,
            };
            let reason = report.reason.clone();
            Move { report: Some(report), ..Move::new(name, end, reason) }
        }
    };
    Move { target_node: status.target_node, target_pod: status.target_pod, ..moved }
}

fn spec(pod: &Pod, to: Option<&str>) -> Result<StatefulMigrationSpec> {
    let mut spec = json!({
        "sourcePod": pod.name_any(),
        "containerName": container(pod),
        "targetNode": to,
        "transferMode": "Direct",
        "messageQueueConfig": consumed(pod, &Said::default())?,
    });
    if let Value::Object(fields) = &mut spec {
        fields.retain(|_, value| !value.is_null());
    }
    let odd = |error| Error::fatal(ErrorKind::Invalid, "the migration cannot be written").caused_by(error);
    serde_json::from_value(spec).map_err(odd)
}

/// One line.
pub(super) fn told(one: &Move) -> String {
    let name = &one.name;
    let reason = one.reason.as_deref().unwrap_or("no reason is known");
    let migration = one.migration.as_deref().unwrap_or_default();
    let node = one.target_node.as_deref().unwrap_or("another node");
    let copy = one.target_pod.as_deref().unwrap_or("?");
    let figure = |name: &str, figure: Option<f64>| figure.map_or_else(String::new, |ms| format!(", {name} {ms:.1} ms"));
    let figures = one.report.as_ref().map(|report| &report.durations_ms);
    let figures = figures.map_or_else(String::new, |ms| figure("gap", ms.cutover_gap) + &figure("total", ms.total));
    match one.end {
        End::Moved => format!("{name}: moved to {node} as {copy}{figures}"),
        End::NotProvenExact => format!("{name}: moved to {node} as {copy}{figures}, but it is not proven that its state is exact"),
        End::NotMoved => format!("{name}: not moved, it runs on: {reason}"),
        End::UnderWay => format!("{name}: migration {migration} goes on: {reason}"),
        End::NotBegun => format!("{name}: not begun: {reason}"),
    }
}
