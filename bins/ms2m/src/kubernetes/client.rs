//! The API server.

use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use ms2m_core::{Error, ErrorKind, Result};
use ms2m_k8s::api::StatefulMigration;

use super::args::{AccessArgs, ClusterArgs};

/// A client for the context that is asked for; its namespace is the one that is asked for.
pub(super) async fn connect(args: &ClusterArgs) -> Result<Client> {
    let mut config = config(&args.access).await?;
    if let Some(namespace) = &args.namespace {
        config.default_namespace.clone_from(namespace);
    }
    Client::try_from(config).map_err(|error| unusable(&error))
}

/// A client for the context that is asked for, for what is in no namespace.
pub(super) async fn connect_to_all(args: &AccessArgs) -> Result<Client> {
    Client::try_from(config(args).await?).map_err(|error| unusable(&error))
}

/// The same for who wants to know at once that the API server asks for patience, and why.
pub(super) async fn connect_without_retries(args: &AccessArgs) -> Result<Client> {
    let mut config = config(args).await?;
    config.default_retry = false;
    Client::try_from(config).map_err(|error| unusable(&error))
}

fn unusable(error: &dyn std::error::Error) -> Error {
    let message = "there is no cluster to ask: name a kubeconfig by --kubeconfig or $KUBECONFIG, and a context of it by --context";
    Error::fatal(ErrorKind::Invalid, message).caused_by(error.to_string())
}

async fn config(args: &AccessArgs) -> Result<Config> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    match &args.kubeconfig {
        Some(file) => {
            let file = Kubeconfig::read_from(file).map_err(|error| unusable(&error))?;
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| unusable(&error))
        }
        None if args.context.is_some() => Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error)),
        None => Config::infer().await.map_err(|error| unusable(&error)),
    }
}

pub(super) fn migrations(client: &Client) -> Api<StatefulMigration> {
    Api::default_namespaced(client.clone())
}

/// What the API server has said, and what to do about it.
pub(super) fn refused(what: &str) -> impl FnOnce(kube::Error) -> Error + use<'_> {
    move |error| {
        let kube::Error::Api(status) = &error else {
            let message = format!("could not {what}: the API server cannot be reached");
            return Error::retry(ErrorKind::Unavailable, message).caused_by(error);
        };
        let (kind, remedy) = match status.code {
            401 | 403 => (ErrorKind::Unauthorized, "; ask for the role ms2m-editor, to drain a node for ms2m-drainer"),
            404 if status.message.contains("the server could not find the requested resource")
                || status.message.contains("page not found") =>
            {
                (ErrorKind::Unsupported, "; ms2m is not installed in this cluster")
            }
            404 => (ErrorKind::NotFound, "; is it in this namespace (--namespace)?"),
            409 => (ErrorKind::AlreadyExists, ""),
            _ => (ErrorKind::Invalid, ""),
        };
        Error::fatal(kind, format!("could not {what}: {}{remedy}", status.message))
    }
}
