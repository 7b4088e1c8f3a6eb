//! Many migrations at once: what the controller takes, against a real API server with simulated nodes.

mod client;
mod drivers;
mod nodes;
mod operate;
mod world;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use ms2m_testkit_cluster::{Cluster, Options};

use self::operate::Told;
use self::world::World;
use crate::args::Args;

pub(crate) use self::operate::run as operate;

/// Each run moves every pod once, with a controller of its own.
pub(crate) fn measure(args: &Args) -> Result<()> {
    let cluster = Cluster::start(&Options::default())?;
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/rbac");
    cluster.kubectl(&["apply", "--kustomize", deploy])?;
    cluster.kubectl(&["wait", "--for=condition=Established", "crd/statefulmigrations.migration.ms2m.io"])?;
    cluster.within(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(runs(args, &cluster))
    })?
}

async fn runs(args: &Args, cluster: &Cluster) -> Result<()> {
    let world = World::make(cluster, args.migrations).await?;
    println!("\n{} migrations at once, on {} simulated nodes", args.migrations, nodes::NODES);
    for run in 1..=args.runs {
        let controller = Controller::start(cluster, args.migrations)?;
        let begun = Instant::now();
        world.migrate_all(run).await?;
        let took = begun.elapsed();
        let told = controller.end()?;
        println!("run {run}: all completed after {:.1} s; {told}", took.as_secs_f64());
        world.clear().await?;
    }
    Ok(())
}

/// The process under measurement.
struct Controller {
    child: Child,
    stdin: ChildStdin,
}

impl Controller {
    fn start(cluster: &Cluster, migrations_max: usize) -> Result<Self> {
        let kubeconfig = cluster.account("ms2m-system", "ms2m-controller")?;
        let mut command = cluster.command(std::env::current_exe()?);
        command.arg("operate").arg("--migrations-max").arg(migrations_max.to_string()).env("KUBECONFIG", kubeconfig);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("the controller cannot be started")?;
        let stdin = child.stdin.take().context("the controller has no input")?;
        Ok(Self { child, stdin })
    }

    /// What it says at its end.
    fn end(self) -> Result<Told> {
        let Self { mut child, stdin } = self;
        drop(stdin);
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the controller has no output")?).read_line(&mut line)?;
        child.wait()?;
        serde_json::from_str(&line).context("the controller has not told what it took")
    }
}
