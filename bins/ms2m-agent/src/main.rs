//! `ms2m-agent`: takes the checkpoints that other nodes send, and keeps them until the copy is made of them. For a controller it has pods of
//! its node checkpointed and restored.

mod args;
mod as_node;
mod image_store;
mod install;
mod metrics;
mod node;
mod operations;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use ms2m_core::{Error, ErrorKind, Result};
use ms2m_traces::Traces;
use ms2m_transfer_direct::Agent;
use ms2m_transfer_direct::agent::Store;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

use args::{Args, Task};
use node::ThisNode;

fn main() -> ExitCode {
    // An installed provider is the only error, and then one is there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut args = Args::parse();
    if let Some(Task::Install(what)) = &args.task {
        // Its last lines are what the pod's status shows.
        return match install::install(what) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    // Before there are threads.
    let entered = if args.as_node { args.enter_the_node() } else { Ok(()) };
    let traces = Traces::to(args.traces.as_deref(), "ms2m-agent");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt::layer().json().with_span_list(false).with_writer(std::io::stderr);
    let layer = traces.as_ref().ok().and_then(Traces::layer);
    tracing_subscriber::registry().with(filter).with(log).with(layer).init();
    match entered.and(traces).and_then(|traces| work(&args, &traces)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the agent ends");
            ExitCode::FAILURE
        }
    }
}

fn work(args: &Args, traces: &Traces) -> Result<()> {
    let cannot = |error| Error::fatal(ErrorKind::Other, "no threads to run on").caused_by(error);
    let worked = tokio::runtime::Runtime::new().map_err(cannot)?.block_on(run(args));
    traces.end();
    worked
}

async fn run(args: &Args) -> Result<()> {
    allow_many_files();
    // The store's lock says that no other agent uses the directory.
    let store = Store::open(args.store())?;
    let arrival = args.image_store.arrival(&args.storage_dir).await?;
    let agent = Agent::new(store, args.admission(), arrival, args.limits());
    let mut routes = agent.router();
    if !args.node.controllers.is_empty() {
        node::make_work_dir(&args.node)?;
        let this = ThisNode::open(&args.node, &args.image_store, agent.clone(), args.credentials()).await?;
        routes = routes.merge(ms2m_remote::routes(Arc::new(this), &args.node.controllers));
    }
    let checkpoints = listen(args, args.port).await?;
    let operations = listen(args, args.operations_port).await?;
    let (mut terminate, mut interrupt) = (told(SignalKind::terminate())?, told(SignalKind::interrupt())?);
    let address = |listener: &TcpListener| listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    tracing::info!(checkpoints = address(&checkpoints), operations = address(&operations), "serving");

    let collecting = tokio::spawn(collect(agent.clone(), args.collect_every()));
    // Until the very end: who asks whether it is ready is told that it is not.
    let operating = tokio::spawn(operations::serve(operations, agent.clone()));
    let served = agent.serve_routes(checkpoints, args.credentials(), routes, async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to end: uploads that go on may end, nothing new is begun");
    });
    let served = served.await;
    collecting.abort();
    operating.abort();
    served
}

async fn listen(args: &Args, port: u16) -> Result<TcpListener> {
    TcpListener::bind((args.listen, port)).await.map_err(|error| {
        let message = "the agent cannot listen on its port; give it another one, or end who uses it";
        Error::fatal(ErrorKind::AlreadyExists, message).with("port", port).caused_by(error)
    })
}

fn told(kind: SignalKind) -> Result<tokio::signal::unix::Signal> {
    signal(kind).map_err(|error| Error::fatal(ErrorKind::Other, "signals cannot be received").caused_by(error))
}

/// Each connection is an open file. The usual soft limit of 1024 is for programs that use `select`.
fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

async fn collect(agent: Agent, every: std::time::Duration) {
    loop {
        tokio::time::sleep(every).await;
        match agent.collect().await {
            Ok(collected) if collected.incomplete + collected.arrived > 0 => tracing::info!(?collected, "removed what was too old"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "what is too old cannot be removed"),
        }
    }
}
