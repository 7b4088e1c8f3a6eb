//! A cluster in which nothing of ms2m is, and a newcomer with its tools.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ms2m_testkit_cluster::{Cluster, Image, Options};
use ms2m_testkit_machine::{cache, workspace_program};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::names;

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// As the machine sees it.
const KUBECONFIG: &str = "/var/tmp/cluster/pki/admin.kubeconfig";
const HELM: &str = "helm-3.21.4";
pub(crate) const NAMESPACE: &str = "ms2m-system";
/// Generous: a loaded machine is no error.
pub(crate) const WITHIN: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(100);

/// What a node's containerd is told, as the installer says it when it is missing.
pub(crate) const RUNTIME: &str = "cat >>/etc/containerd/config.toml <<'EOT'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.ms2m]
  runtime_type = 'io.containerd.runc.v2'
  pod_annotations = ['migration.ms2m.io/*']
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.ms2m.options]
  BinaryName = '/opt/ms2m/bin/ms2m-runtime'
EOT
";

pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    /// Of ms2m, in the cluster's registry.
    pub(crate) image: String,
}

impl Stage {
    /// `hook` is run by each node before its containerd starts.
    pub(crate) fn start(hook: &str) -> Self {
        let options = Options::default().rabbitmq().hook(format!("{}{hook}", names::HOOK));
        let cluster = Cluster::start(&options).unwrap_or_else(|error| panic!("{error}"));
        names::serve(&cluster);
        let program = |name: &str| workspace_program(name, &format!("static/{name}")).unwrap();
        let image = Image::of(program("ms2m-agent")).and(program("ms2m-certificate")).and(program("ms2m-controller"));
        let image = cluster.push("ms2m", &image.and(program("ms2m-runtime"))).unwrap();
        let tools = cluster.path("/usr/local/bin");
        let helm = cache().join(HELM);
        fs::copy(&helm, tools.join("helm")).unwrap_or_else(|_| panic!("{} is missing; `testbed/helm setup` builds it", helm.display()));
        symlink(env!("CARGO_BIN_EXE_ms2m"), tools.join("ms2m")).unwrap();
        Self { cluster, image }
    }

    /// Types a command in the workspace; what it said, and whether it went well.
    pub(crate) async fn types(&self, line: &str) -> Result<String, String> {
        println!("$ {line}");
        let mut command = self.cluster.command("sh");
        command.args(["-c", &format!("cd {WORKSPACE} && {line}")]).env("KUBECONFIG", KUBECONFIG);
        let output = timeout(WITHIN, Command::from(command).kill_on_drop(true).output()).await.expect("in time").unwrap();
        let (said, complained) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(said) } else { Err(format!("{} {complained} {said}", output.status)) }
    }

    pub(crate) fn get(&self, what: &[&str]) -> Value {
        let said = self.cluster.kubectl(&[&["get"], what, &["--output", "json"]].concat()).unwrap();
        serde_json::from_str(&said).unwrap()
    }

    pub(crate) fn items(&self, what: &[&str]) -> Vec<Value> {
        self.get(what)["items"].as_array().unwrap().clone()
    }

    /// Looks until there is something.
    pub(crate) async fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(begun.elapsed() < WITHIN, "{what}: {}", self.cluster.kubectl(&["get", "pods,csr", "-A"]).unwrap());
            sleep(LOOK).await;
        }
    }

    /// The consumer's one ready pod, which its ReplicaSet owns, and the node that it is not on.
    pub(crate) async fn consumer(&self) -> (String, &'static str) {
        self.until("the consumer's pod alone is ready", || {
            let pods = self.items(&["pods"]);
            let [pod] = pods.as_slice() else { return None };
            let ready = pod["status"]["conditions"].as_array()?.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
            if !ready || pod["metadata"]["ownerReferences"][0]["kind"] != "ReplicaSet" {
                return None;
            }
            let to = if pod["spec"]["nodeName"] == "n1" { "n2" } else { "n1" };
            Some((pod["metadata"]["name"].as_str()?.to_owned(), to))
        })
        .await
    }

    /// An example, with this in place of what it names.
    pub(crate) fn applies(&self, example: &str, replaced: &[(&str, String)]) {
        let path = PathBuf::from(WORKSPACE).join("examples/kubernetes").join(example);
        let manifest = fs::read_to_string(path).unwrap();
        self.cluster.apply(&put(&manifest, replaced)).unwrap();
    }

    /// What the programs have said, when something went wrong.
    pub(crate) fn logs(&self) -> String {
        let words = ["logs", "--namespace", NAMESPACE, "--all-containers", "--prefix", "--tail=40", "--selector"];
        let of = |component| self.cluster.kubectl(&[&words[..], &[component]].concat()).unwrap_or_else(|error| error.to_string());
        of("app.kubernetes.io/component=controller") + &of("app.kubernetes.io/component=agent")
    }
}

/// Replaces each name, which must be there.
pub(crate) fn put(text: &str, replaced: &[(&str, String)]) -> String {
    replaced.iter().fold(text.to_owned(), |text, (name, by)| {
        assert!(text.contains(name), "{name} is not in {text}");
        text.replace(name, by)
    })
}
