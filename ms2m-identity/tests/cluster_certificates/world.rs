//! A cluster with the accounts of controller and agents, and requests as anybody may write them.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec, CertificateSigningRequestStatus};
use kube::api::{ObjectMeta, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use ms2m_identity::SIGNER;
use ms2m_testkit_cluster::{Cluster, Options};
use rcgen::{CertificateParams, KeyPair};
use tokio::time::sleep;

pub(crate) const NAMESPACE: &str = "ms2m-system";
const WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) admin: Client,
    pub(crate) files: tempfile::TempDir,
}

/// Runs `test` in a cluster that knows ms2m's accounts.
pub(crate) fn in_a_cluster<F: Future<Output = ()>>(test: impl FnOnce(World) -> F + Send) {
    let cluster = Arc::new(Cluster::start(&Options::default()).unwrap_or_else(|error| panic!("{error}")));
    cluster.kubectl(&["apply", "--kustomize", concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/rbac")]).unwrap();
    let shared = Arc::clone(&cluster);
    let work = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            let admin = Client::try_from(config(&shared, None).await).unwrap();
            test(World { cluster: shared, admin, files: tempfile::tempdir().unwrap() }).await;
        });
    };
    cluster.within(work).unwrap();
}

async fn config(cluster: &Cluster, token: Option<String>) -> Config {
    let mut kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    if let Some(token) = token {
        let user = AuthInfo { token: Some(token.trim().to_owned().into()), ..Default::default() };
        kubeconfig.auth_infos[0].auth_info = Some(user);
    }
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

impl World {
    async fn account(&self, words: &[&str]) -> Client {
        let token = self.cluster.kubectl(&[&["create", "token", "--namespace", NAMESPACE], words].concat()).unwrap();
        Client::try_from(config(&self.cluster, Some(token)).await).unwrap()
    }

    pub(crate) async fn controller(&self) -> Client {
        self.account(&["ms2m-controller"]).await
    }

    /// With a token of the agents' account that is no pod's.
    pub(crate) async fn unbound(&self) -> Client {
        self.account(&["ms2m-agent"]).await
    }

    /// kubectl cannot ask this: signers are no resource that one could see.
    pub(crate) async fn may_as_signer(&self, account: &str, verb: &str, signer: &str) -> bool {
        let attributes = ResourceAttributes {
            verb: Some(verb.into()),
            group: Some("certificates.k8s.io".into()),
            resource: Some("signers".into()),
            name: Some(signer.into()),
            ..Default::default()
        };
        let user = Some(format!("system:serviceaccount:{NAMESPACE}:{account}"));
        let spec = SubjectAccessReviewSpec { resource_attributes: Some(attributes), user, ..Default::default() };
        let review = SubjectAccessReview { spec, ..Default::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(self.admin.clone());
        reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
    }

    /// With the token of a pod of the agents' account on a node.
    pub(crate) async fn agent(&self, node: &str) -> Client {
        let pod = format!("agent-on-{node}");
        let manifest = format!(
            r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "{pod}", "namespace": "{NAMESPACE}"}},
                "spec": {{"nodeName": "{node}", "serviceAccountName": "ms2m-agent", "containers": [{{"name": "a", "image": "localhost/pause:1"}}]}}}}"#
        );
        self.cluster.apply(&manifest).unwrap();
        self.account(&["ms2m-agent", "--bound-object-kind", "Pod", "--bound-object-name", &pod]).await
    }
}

/// A request, good or bad.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) node: String,
    pub(crate) usages: Vec<&'static str>,
    pub(crate) seconds: i32,
}

impl Asked {
    pub(crate) fn of(node: &str) -> Self {
        Self { node: node.to_owned(), usages: vec!["digital signature", "client auth", "server auth"], seconds: 3600 }
    }

    /// Its name.
    pub(crate) async fn create(&self, client: &Client) -> String {
        let params = CertificateParams::new([self.node.clone()]).unwrap();
        let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let request = CertificateSigningRequest {
            metadata: ObjectMeta { generate_name: Some("asked-".into()), ..Default::default() },
            spec: CertificateSigningRequestSpec {
                signer_name: SIGNER.into(),
                usages: Some(self.usages.iter().map(|&usage| usage.to_owned()).collect()),
                expiration_seconds: Some(self.seconds),
                request: ByteString(pem.into_bytes()),
                ..Default::default()
            },
            status: None,
        };
        let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
        requests.create(&PostParams::default(), &request).await.unwrap().name_any()
    }

    pub(crate) async fn answered(&self, client: &Client, name: &str) -> CertificateSigningRequestStatus {
        let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
        let begun = Instant::now();
        loop {
            let status = requests.get(name).await.unwrap().status.unwrap_or_default();
            let refused = status.conditions.iter().flatten().any(|condition| condition.type_ != "Approved");
            if refused || status.certificate.is_some() {
                return status;
            }
            assert!(begun.elapsed() < WITHIN, "{status:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What comes of it.
pub(crate) async fn asked(client: &Client, what: &Asked) -> CertificateSigningRequestStatus {
    let name = what.create(client).await;
    what.answered(client, &name).await
}
