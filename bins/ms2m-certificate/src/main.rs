//! `ms2m-certificate`: asks the cluster for the certificate of a node's agent, and renews it. So the agent itself, which may do everything on its node,
//! has nothing to do with the API server.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kube::Client;
use ms2m_core::{Error, ErrorKind, Result};
use ms2m_identity::{CertificateDirectory, Keeper};
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Asks the cluster for the certificate of a node's agent, and renews it when two thirds of its time are over.
///
/// It asks with the account of its pod, by a CertificateSigningRequest, which a controller with --issue-certificates answers.
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    /// The node of this pod
    #[arg(long, env = "MS2M_NODE", value_name = "NAME")]
    node: String,

    /// Where tls.crt, tls.key and ca.crt are written; nobody else may write there
    #[arg(long, env = "MS2M_CREDENTIALS", value_name = "DIR", default_value = "/etc/ms2m/tls")]
    credentials: PathBuf,

    /// Only say, by the exit status, whether a good certificate is there
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    // An installed provider is the only error, and then one is there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    let directory = CertificateDirectory::new(&args.credentials);
    if args.check {
        return check(&args, &directory);
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let cannot = |error| Error::fatal(ErrorKind::Other, "no threads to run on").caused_by(error);
    match runtime.map_err(cannot).and_then(|runtime| runtime.block_on(run(&args, directory))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "no certificate is kept");
            ExitCode::FAILURE
        }
    }
}

fn check(args: &Args, directory: &CertificateDirectory) -> ExitCode {
    let good = directory.held().is_some_and(|held| held.is_good(&args.node, OffsetDateTime::now_utc()));
    if good {
        return ExitCode::SUCCESS;
    }
    eprintln!("there is no good certificate of {} in {}; the log of this program says why", args.node, args.credentials.display());
    ExitCode::FAILURE
}

async fn run(args: &Args, directory: CertificateDirectory) -> Result<()> {
    let client = Client::try_default().await.map_err(|error| {
        let message = "there is no cluster to ask: run in a pod, or name a kubeconfig by $KUBECONFIG";
        Error::fatal(ErrorKind::Invalid, message).caused_by(error)
    })?;
    let listen = |kind| signal(kind).map_err(|error| Error::fatal(ErrorKind::Other, "signals cannot be received").caused_by(error));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let keeper = Keeper::new(client, &args.node, directory);
    tokio::select! {
        () = keeper.run() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
