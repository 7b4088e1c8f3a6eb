//! `ms2m-controller`: moves the pods that StatefulMigrations ask for.

mod agents;
mod args;
mod metrics;
mod operations;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use ms2m_core::{Error, ErrorKind, Result};
use ms2m_identity::Issuer;
use ms2m_k8s::Operator;
use ms2m_traces::Traces;
use ms2m_transfer_direct::Credentials;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

use agents::{Agents, Nodes};
use args::Args;
use metrics::Metrics;

fn main() -> ExitCode {
    // An installed provider is the only error, and then one is there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    // lapin calls every refused question an error.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,lapin=off"));
    let traces = Traces::to(args.traces.as_deref(), "ms2m-controller");
    let log = tracing_subscriber::fmt::layer().json().with_span_list(false).with_writer(std::io::stderr);
    let layer = traces.as_ref().ok().and_then(Traces::layer);
    tracing_subscriber::registry().with(filter).with(log).with(layer).init();
    match traces.and_then(|traces| work(&args, &traces)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the controller ends");
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
    let config = kube::Config::infer().await.map_err(|error| {
        let message = "there is no cluster to work for: run in a pod, or name a kubeconfig by $KUBECONFIG";
        Error::fatal(ErrorKind::Invalid, message).caused_by(error)
    })?;
    let client = ms2m_k8s::client(config)?;
    let issuing = match args.issuer() {
        Some(options) => Some(tokio::spawn(Issuer::open(client.clone(), options).await?.run())),
        None => None,
    };
    let nodes = Nodes::new(client.clone(), args.agent_port, Credentials::from_directory(&args.credentials));
    let metrics = Arc::new(Metrics::new());
    let agents = Arc::new(Agents::new(client.clone(), nodes, args.runtime_class.clone()));
    let mut operator = Operator::new(client, agents)
        .with_observer(Arc::clone(&metrics) as _)
        .with_operator_observer(Arc::clone(&metrics) as _)
        .with_migrations_max(args.migrations_max);
    if let Some(namespace) = &args.namespace {
        operator = operator.with_namespace(namespace);
    }
    if let Some(identity) = &args.identity {
        operator = operator.with_identity(identity);
    }

    let listener = TcpListener::bind((args.listen, args.operations_port)).await.map_err(|error| {
        let message = "the controller cannot listen on its port; give it another one, or end who uses it";
        Error::fatal(ErrorKind::AlreadyExists, message).with("port", args.operations_port).caused_by(error)
    })?;
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    tracing::info!(operations = address, namespace = args.namespace.as_deref().unwrap_or("all"), "working");
    let operating = tokio::spawn(operations::serve(listener, metrics));
    let told = told()?;
    let worked = match &args.lease_namespace {
        Some(namespace) => operator.run_as_leader(namespace, told).await,
        None => {
            operator.run(told).await;
            Ok(())
        }
    };
    operating.abort();
    if let Some(issuing) = issuing {
        issuing.abort();
    }
    worked
}

/// Ends when the controller shall.
fn told() -> Result<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).map_err(|error| Error::fatal(ErrorKind::Other, "signals cannot be received").caused_by(error));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to end: migrations stay where they are, for the next controller");
    })
}
