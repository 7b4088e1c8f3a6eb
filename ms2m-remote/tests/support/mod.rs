//! Two nodes with an agent each. Their drivers are simple ones: what is tested is the way between.

mod node;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ms2m_core::{CheckpointJob, Digest, MigrationId, Result};
use ms2m_remote::{Member, SourcePlace, Taker, TargetPlace, routes};
use ms2m_testkit::certificates::Authority;
use ms2m_transfer_direct::agent::{Kept, Limits, LiveFile, Store, StoreOptions};
use ms2m_transfer_direct::{Agent, Caller, Credentials};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use node::ARCHIVE_BYTES;
use node::TestNode;

pub(crate) fn migration() -> MigrationId {
    MigrationId::new("m-1").unwrap()
}

pub(crate) fn checkpoint_job() -> CheckpointJob {
    CheckpointJob { migration: migration(), parent: None, leave_running: true, deadline: Duration::from_secs(60) }
}

struct Serving {
    address: SocketAddr,
    node: Arc<TestNode>,
    end: oneshot::Sender<()>,
    served: JoinHandle<Result<()>>,
}

pub(crate) struct Nodes {
    home: TempDir,
    running: HashMap<&'static str, Serving>,
}

impl Nodes {
    pub(crate) async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let authority = Authority::new().unwrap();
        for name in ["n1", "n2", "controller"] {
            authority.issue(home.path().join("certificates").join(name), name).unwrap();
        }
        let mut nodes = Self { home, running: HashMap::new() };
        nodes.serve("n1", "127.0.0.1:0".parse().unwrap()).await;
        nodes.serve("n2", "127.0.0.1:0".parse().unwrap()).await;
        nodes
    }

    async fn serve(&mut self, name: &'static str, address: SocketAddr) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let store = Store::open(StoreOptions { free_bytes_min: 0, ..StoreOptions::new(self.incoming(name)) }).unwrap();
        let live = self.home.path().join(format!("{name}.live.json"));
        std::fs::write(&live, r#"{"operators": ["controller"]}"#).unwrap();
        let agent = Agent::new(store, Arc::new(LiveFile::new(&live)), Arc::new(Kept), Limits::default());
        let node = Arc::new(TestNode::new(agent.clone(), live, self.credentials(name)));
        let all = agent.router().merge(routes(Arc::clone(&node) as _, ["controller"]));
        let (end, told) = oneshot::channel();
        let credentials = self.credentials(name);
        let served = tokio::spawn(async move { agent.serve_routes(listener, credentials, all, async { drop(told.await) }).await });
        self.running.insert(name, Serving { address, node, end, served });
    }

    pub(crate) async fn restart(&mut self, name: &'static str) {
        let Serving { address, node, end, served } = self.running.remove(name).unwrap();
        drop((node, end));
        served.await.unwrap().unwrap();
        self.serve(name, address).await;
    }

    fn incoming(&self, name: &str) -> PathBuf {
        self.home.path().join(name).join("incoming")
    }

    pub(crate) fn credentials(&self, name: &str) -> Credentials {
        Credentials::from_directory(self.home.path().join("certificates").join(name))
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("https://{}", self.running[name].address)
    }

    pub(crate) fn caller(&self, name: &str) -> Caller {
        Caller::new(&self.url(name), name, self.credentials("controller")).unwrap()
    }

    #[allow(clippy::unused_self, reason = "it reads like the others")]
    pub(crate) fn source_place(&self) -> SourcePlace {
        let members = vec![Member { name: "main".into(), id: "1".into() }];
        SourcePlace { migration: migration(), namespace: "default".into(), pod: "source".into(), members, taker: Taker::default() }
    }

    #[allow(clippy::unused_self, reason = "it reads like the others")]
    pub(crate) fn target_place(&self) -> TargetPlace {
        TargetPlace {
            migration: migration(),
            namespace: "default".into(),
            pod: "copy".into(),
            pod_uid: "u".into(),
            containers: vec!["main".into()],
            image: None,
            from_node: "n1".into(),
        }
    }

    /// What copies were made of at the target.
    pub(crate) fn restored(&self) -> Vec<Digest> {
        self.running["n2"].node.restored()
    }

    /// The migrations of which something is there.
    pub(crate) fn arrived(&self, name: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.incoming(name)).unwrap().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| name != ".lock").collect()
    }
}
