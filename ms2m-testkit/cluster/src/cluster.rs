//! The cluster.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use ms2m_testkit_machine::{Cgroups, Machine, cache, visible};
use ms2m_testkit_rabbitmq::RabbitMqServer;
use ms2m_testkit_registry::RegistryServer;
use serde_json::json;

use crate::error::run;
use crate::network::Network;
use crate::{CONTROL, ClusterError, DIRECTORY, Image, Node, Options, REGISTRY, diagnosis, pki, push};

const NETWORK: &str = include_str!("network.sh");
const NODE: &str = include_str!("node.sh");
const UP: &str = include_str!("up.sh");

/// A running cluster. It ends, with all that runs in it, when dropped and when this process ends in whatever way.
#[derive(Debug)]
pub struct Cluster {
    network: Network,
    rabbitmq: Option<RabbitMqServer>,
    registry: RegistryServer,
    machine: Machine,
}

impl Cluster {
    /// Starts one, and returns when both nodes are ready.
    ///
    /// # Errors
    /// [`ClusterError`]; nothing is left then.
    pub fn start(options: &Options) -> Result<Self, ClusterError> {
        let programs = cache().join("cluster");
        if !programs.join(".done").exists() {
            return Err(ClusterError::NotBuilt(programs));
        }
        let of_the_machine = ms2m_testkit_machine::Options::default().cgroups(Cgroups::Host).sees(&programs);
        let machine = Machine::start(&of_the_machine)?;
        run(machine.command("bash").args(["-c", NETWORK]), "the script of the network")?;
        let network = Network(machine.path("/run/netns/control"));
        let files = machine.path(DIRECTORY);
        let pki = files.join("pki");
        pki::write(&pki).map_err(ClusterError::io("write the cluster's certificates"))?;
        let registry = ms2m_testkit_registry::Options {
            tls: Some((pki.join("server.crt"), pki.join("server.key"))),
            address: Some(SocketAddr::from((CONTROL, 5000))),
            ..Default::default()
        };
        let registry = network.within(|| RegistryServer::start(&registry))??;
        fs::create_dir(files.join("shared")).map_err(ClusterError::io("make the shared directory"))?;
        pivot_root(&files.join("pivot_root"))?;
        push::write(&machine, &Image::of(programs.join("pause")), "localhost/pause:1", &Path::new(DIRECTORY).join("pause.tar"))?;
        let mut up = machine.command("bash");
        up.args(["-c", UP, "up", DIRECTORY]).arg(&programs).args([NODE, &options.runtime, &options.hook]).args(visible());
        let (rabbitmq, up) = thread::scope(|scope| {
            let beside = options.rabbitmq.then(|| scope.spawn(|| network.within(rabbitmq)));
            let up = run(&mut up, "the script of the cluster");
            (beside.map(|beside| beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))), up)
        });
        let rabbitmq = rabbitmq.transpose()?.transpose()?;
        up.map_err(|error| ClusterError::DidNotStart { why: error.to_string(), logs: diagnosis::logs(&machine) })?;
        Ok(Self { network, rabbitmq, registry, machine })
    }

    /// A program that runs in the cluster's network, beside the control plane, in `/` of the machine.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.machine.command("nsenter");
        command.args(["--net=/run/netns/control", "--"]).arg(program);
        command
    }

    /// A program that runs within a node, in its `/`.
    #[must_use]
    pub fn node(&self, node: Node, program: impl AsRef<OsStr>) -> Command {
        let pid = fs::read_to_string(self.machine.path(DIRECTORY).join(format!("{node}.pid"))).unwrap_or_default();
        let mut command = self.machine.command("nsenter");
        command.args(["--target", pid.trim(), "--mount", "--pid", "--uts", "--ipc", "--net", "--root", "--wd", "--"]).arg(program);
        command
    }

    /// Where the host sees a file of a node.
    #[must_use]
    pub fn node_path(&self, node: Node, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        let pid = fs::read_to_string(self.machine.path(DIRECTORY).join(format!("{node}.pid"))).unwrap_or_default();
        // The machine's own /proc knows the node by this number.
        self.machine.path("/proc").join(pid.trim()).join("root").join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// Where the host sees a file of the machine, in which [`Cluster::command`] runs.
    #[must_use]
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.machine.path(inside)
    }

    /// A directory that the machine and both nodes see under this path, for what a test gives them. The host sees it at [`Cluster::path`] of it.
    #[must_use]
    pub fn shared(&self) -> PathBuf {
        Path::new(DIRECTORY).join("shared")
    }

    /// Runs `work` in the cluster's network, on a thread of its own. A runtime of Tokio that is built in there has its other threads there, too.
    ///
    /// # Errors
    /// When the network cannot be entered.
    pub fn within<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, ClusterError> {
        self.network.within(work)
    }

    /// Runs kubectl as the cluster's admin; its standard output.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, ClusterError> {
        let output = run(self.kubectl_command().args(arguments), &format!("kubectl {}", arguments.join(" ")))?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Applies a manifest, YAML or JSON.
    ///
    /// # Errors
    /// When the API server refuses it, with what it said.
    pub fn apply(&self, manifest: &str) -> Result<(), ClusterError> {
        let failed = || ClusterError::io("run kubectl apply");
        let mut command = self.kubectl_command();
        command.args(["apply", "--filename", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed())?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(manifest.as_bytes()).map_err(failed())?;
        }
        let output = child.wait_with_output().map_err(failed())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(ClusterError::Command { command: "kubectl apply".into(), status: output.status.to_string(), output: said })
    }

    fn kubectl_command(&self) -> Command {
        let mut command = self.command(format!("{DIRECTORY}/bin/kubectl"));
        command.arg("--kubeconfig").arg(format!("{DIRECTORY}/pki/admin.kubeconfig"));
        command
    }

    /// The kubeconfig of the cluster's admin, as the host sees it: for a client that runs [within](Cluster::within).
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.machine.path(DIRECTORY).join("pki/admin.kubeconfig")
    }

    /// Writes a kubeconfig, as the machine and the nodes see it, for a service account: with its rights and its share of the API server, for two hours.
    ///
    /// # Errors
    /// When there is no such account, or the file cannot be written.
    pub fn account(&self, namespace: &str, name: &str) -> Result<PathBuf, ClusterError> {
        let token = self.kubectl(&["create", "token", name, "--namespace", namespace, "--duration", "2h"])?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": "https://10.77.0.1:6443", "certificate-authority": self.authority()}}],
            "users": [{"name": "c", "user": {"token": token.trim()}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        });
        let file = self.shared().join(format!("{name}.kubeconfig"));
        fs::write(self.path(&file), config.to_string()).map_err(ClusterError::io("write a kubeconfig"))?;
        Ok(file)
    }

    /// The certificate of the cluster's authority, which has signed the registry's, as the machine and the nodes see it.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        Path::new(DIRECTORY).join("pki/ca.crt")
    }

    /// The cluster's RabbitMQ, as pods reach it too, if [`Options::rabbitmq`] has asked for one.
    #[must_use]
    pub fn rabbitmq(&self) -> Option<&RabbitMqServer> {
        self.rabbitmq.as_ref()
    }

    /// The registry at [`REGISTRY`].
    #[must_use]
    pub fn registry(&self) -> &RegistryServer {
        &self.registry
    }

    /// Pushes an image into the registry, and returns its reference by digest.
    ///
    /// # Errors
    /// When it cannot be made or pushed.
    pub fn push(&self, repository: &str, image: &Image) -> Result<String, ClusterError> {
        let tar = Path::new(DIRECTORY).join("image.tar");
        push::write(&self.machine, image, repository, &tar)?;
        let mut skopeo = self.command("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--quiet", "--digestfile"]).arg(tar.with_extension("digest"));
        skopeo.arg("--dest-cert-dir").arg(Path::new(DIRECTORY).join("pki/registry"));
        run(skopeo.arg(format!("oci-archive:{}", tar.display())).arg(format!("docker://{REGISTRY}/{repository}:image")), "skopeo copy")?;
        let digest = fs::read_to_string(self.machine.path(tar.with_extension("digest"))).map_err(ClusterError::io("read a digest"))?;
        Ok(format!("{REGISTRY}/{repository}@{}", digest.trim()))
    }
}

/// Which Debian has taken out of its essential packages; the machine is made with the host's, too.
fn pivot_root(to: &Path) -> Result<(), ClusterError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let program = places.map(|place| place.join("pivot_root")).find(|program| program.is_file()).unwrap_or_default();
    fs::copy(program, to).map(drop).map_err(ClusterError::io("copy pivot_root, which util-linux brings"))
}

fn rabbitmq() -> Result<RabbitMqServer, ms2m_testkit_rabbitmq::StartError> {
    let mut options = ms2m_testkit_rabbitmq::Options::default();
    options.address = CONTROL;
    RabbitMqServer::start(&options)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            for arguments in [&["get", "pods", "-A", "-o", "wide"][..], &["get", "events", "-A"], &["describe", "pods"]] {
                println!("==> kubectl {}\n{}", arguments.join(" "), self.kubectl(arguments).unwrap_or_else(|error| error.to_string()));
            }
            println!("{}", diagnosis::logs(&self.machine));
        }
    }
}
