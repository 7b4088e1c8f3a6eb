//! Clients of the API server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use ms2m_testkit_cluster::Cluster;

/// What was asked of the API server, by verb and resource.
pub(super) type Requests = Arc<Mutex<BTreeMap<String, u64>>>;

pub(super) async fn admin(cluster: &Cluster) -> Result<Client> {
    let config = Kubeconfig::read_from(cluster.kubeconfig())?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?)?)
}

/// The client of whoever `$KUBECONFIG` names; each request is counted.
pub(super) async fn counted(requests: &Requests) -> Result<Client> {
    let client = ms2m_k8s::client(Config::infer().await?)?;
    let requests = Arc::clone(requests);
    let count = move |request: http::Request<Body>| {
        let named = format!("{} {}", request.method(), what(request.uri()));
        *requests.lock().unwrap_or_else(PoisonError::into_inner).entry(named).or_default() += 1;
        let client = client.clone();
        async move { client.send(request).await }
    };
    Ok(Client::new(tower::service_fn(count), "default"))
}

/// The resource with its subresource, and whether it is watched; no names.
fn what(uri: &http::Uri) -> String {
    let mut words = uri.path().split('/').skip_while(|word| *word != "namespaces").skip(2);
    let resource = words.next().or_else(|| uri.path().rsplit('/').next()).unwrap_or_default();
    let subresource = words.nth(1).map(|name| format!("/{name}")).unwrap_or_default();
    let watched = if uri.query().is_some_and(|query| query.contains("watch=true")) { " (watch)" } else { "" };
    format!("{resource}{subresource}{watched}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_resource() {
        let named = |uri: &str| what(&uri.parse().unwrap());
        assert_eq!(named("/api/v1/namespaces/default/pods/a?x=1"), "pods");
        assert_eq!(named("/api/v1/namespaces/default/pods?watch=true&fieldSelector=a"), "pods (watch)");
        assert_eq!(named("/apis/migration.ms2m.io/v1alpha1/namespaces/default/statefulmigrations/a/status"), "statefulmigrations/status");
        assert_eq!(named("/apis/migration.ms2m.io/v1alpha1/statefulmigrations?limit=5"), "statefulmigrations");
    }
}
