//! `ms2m drain NODE`: moves the node's opted-in pods, then evicts the others.

mod args;
mod evict;
mod limit;
mod moves;
mod sorted;
mod summary;

use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt as _};
use ms2m_core::{Error, ErrorKind, Result};

pub(crate) use self::args::DrainArgs;
use self::limit::Limit;
use self::sorted::{Allowed, Name, Sorted, is_coming};
use self::summary::Summary;
use super::client::{connect_to_all, connect_without_retries, refused};
use super::shown::Lines;
use crate::exit::Exit;

pub(super) async fn drain(args: &DrainArgs) -> Result<Exit> {
    let client = connect_to_all(&args.access).await?;
    check_nodes(&client, args).await?;
    let sorted = look(&client, args).await?;
    tell(args, &sorted);
    if args.dry_run {
        return Ok(Exit::Done);
    }
    let limit = Limit::new(Duration::from_secs(args.timeout.into()));
    Api::<Node>::all(client.clone()).cordon(&args.node).await.map_err(refused("cordon the node"))?;
    eprintln!("ms2m: {} is cordoned", args.node);
    match empty(&client, args, &limit).await {
        Ok(summary) => summary.end(args.output),
        Err(error) => {
            eprintln!("ms2m: {error}; {} stays cordoned, `kubectl uncordon {}` gives it up", args.node, args.node);
            Ok(Exit::RolledBack)
        }
    }
}

async fn check_nodes(client: &Client, args: &DrainArgs) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let known = |error: kube::Error| match &error {
        kube::Error::Api(status) if status.code == 404 => {
            Error::fatal(ErrorKind::NotFound, format!("{}; see kubectl get nodes", status.message))
        }
        _ => refused("look at the node")(error),
    };
    nodes.get(&args.node).await.map_err(known)?;
    let Some(to) = &args.to else { return Ok(()) };
    let refuse = |why: &str| Err(Error::fatal(ErrorKind::Invalid, why.to_owned()).with("node", to));
    if *to == args.node {
        return refuse("--to names the node that is to be emptied: name another one, or leave the choice to the scheduler");
    }
    let target = nodes.get(to).await.map_err(known)?;
    if target.spec.is_some_and(|spec| spec.unschedulable == Some(true)) {
        return refuse("the node that --to names is cordoned itself: name another one");
    }
    Ok(())
}

/// Sorts the pods that are on the node now.
async fn look(client: &Client, args: &DrainArgs) -> Result<Sorted> {
    let on_it = ListParams::default().fields(&format!("spec.nodeName={}", args.node));
    let pods = Api::<Pod>::all(client.clone()).list(&on_it).await.map_err(refused("list the node's pods"))?;
    let allowed = Allowed { unmanaged: args.force || args.migrate_only, empty_dirs: args.delete_emptydir_data || args.migrate_only };
    let sorted = Sorted::of(pods.items, allowed);
    if sorted.problems.is_empty() {
        return Ok(sorted);
    }
    let message = format!("{} cannot be drained so:\n  {}", args.node, sorted.problems.join("\n  "));
    Err(Error::fatal(ErrorKind::Invalid, message))
}

/// Says what will be done, before it is.
fn tell(args: &DrainArgs, sorted: &Sorted) {
    let names = |pods: &[Pod]| pods.iter().map(|pod| Name::of(pod).to_string()).collect::<Vec<_>>().join(", ");
    let to = args.to.as_deref().unwrap_or("wherever the scheduler puts them");
    let mut lines = Vec::new();
    if !sorted.move_.is_empty() {
        lines.push(format!("move to {to}: {}", names(&sorted.move_)));
    }
    if !sorted.coming.is_empty() {
        lines.push(format!("wait for what is being moved here: {}", names(&sorted.coming)));
    }
    if !sorted.evict.is_empty() && !args.migrate_only {
        lines.push(format!("evict, not opted in or without a state: {}", names(&sorted.evict)));
    } else if !sorted.evict.is_empty() {
        lines.push(format!("leave alone, not opted in: {}", names(&sorted.evict)));
    }
    if !sorted.stay.is_empty() {
        let stay: Vec<_> = sorted.stay.iter().map(|(name, why)| format!("{name} ({why})")).collect();
        lines.push(format!("leave alone: {}", stay.join(", ")));
    }
    if lines.is_empty() {
        lines.push("nothing is to be done there".to_owned());
    }
    for line in lines {
        eprintln!("ms2m: {}: {line}", args.node);
    }
}

/// Everything after the cordon.
async fn empty(client: &Client, args: &DrainArgs, limit: &Limit) -> Result<Summary> {
    let lines = Lines::new();
    // What has come before the cordon, and what is just coming: it can be moved on when it is here.
    let mut sorted = look(client, args).await?;
    if !sorted.coming.is_empty() {
        let arrived = limit.or_enough(all_here(client, &sorted.coming)).await;
        arrived.map_err(|why| Error::fatal(ErrorKind::Timeout, format!("what is being moved here has not come yet: {why}")))?;
        sorted = look(client, args).await?;
    }
    let mut summary = Summary::new(&args.node, std::mem::take(&mut sorted.stay));
    summary.migrations = moves::all(client, &sorted.move_, args.to.as_deref(), args.at_once.into(), limit, &lines).await?;
    let has_moved = |pod: &Pod| summary.migrations.iter().any(|one| one.has_moved() && one.name == Name::of(pod));
    let ending: Vec<_> = sorted.move_.into_iter().filter(has_moved).chain(sorted.ending).collect();
    let ended = evict::all_gone(client, &ending, limit).await;
    if !summary.migrations.iter().all(moves::Move::has_moved) {
        summary.reason = Some("nothing was evicted, because not all of its opted-in pods have moved".to_owned());
        return Ok(summary);
    }
    if !args.migrate_only {
        let client = &connect_without_retries(&args.access).await?;
        summary.evictions = evict::all(client, &sorted.evict, args.grace_period, limit, &lines).await;
    }
    summary.drained = ended.iter().chain(&summary.evictions).all(|one| one.gone);
    summary.evictions.extend(ended.into_iter().filter(|one| !one.gone));
    Ok(summary)
}

/// Waits until copies under way have become pods of their own, or have gone.
async fn all_here(client: &Client, copies: &[Pod]) {
    let here = async |copy: &Pod| {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &Name::of(copy).namespace);
        let is_here = |pod: Option<&Pod>| pod.is_none_or(|pod| !is_coming(pod));
        while await_condition(pods.clone(), &copy.name_any(), is_here).await.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    futures_util::stream::iter(copies).map(here).buffer_unordered(copies.len().max(1)).collect::<()>().await;
}
