//! A counter in a container, publishers, and `ms2m` itself as its users call it.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use ms2m_broker::link::{Broker, QueueKind, QueueOptions};
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_testkit_machine::{Bundle, Here, workspace_program};
use oci_spec::runtime::{LinuxNamespaceBuilder, LinuxNamespaceType, MountBuilder, Spec};
use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::audit;
use crate::publish::{PUBLISHERS, RATE, publish};

static BEGUN: AtomicU32 = AtomicU32::new(0);
/// Between two migrations, for the owner to apply some messages by itself.
pub(crate) const PAUSE: Duration = Duration::from_millis(300);
const MIGRATION_DEADLINE: Duration = Duration::from_secs(120);

#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) runtime: &'static str,
    pub(crate) ballast_mib: u32,
    /// Part of the queue's name: tests of one program share a RabbitMQ.
    pub(crate) name: &'static str,
    /// What the container runs beside the counter, as a line of shell.
    pub(crate) beside: Option<&'static str>,
    /// A file for its standard output that lies outside of it.
    pub(crate) stdout: Option<PathBuf>,
    /// A directory of the machine that it sees as `/data`.
    pub(crate) data: Option<PathBuf>,
    /// The network namespace that it joins, by its file.
    pub(crate) network: Option<PathBuf>,
    pub(crate) url: String,
    pub(crate) management: String,
}

impl Setting {
    pub(crate) fn new(here: &Here, runtime: &'static str, ballast_mib: u32) -> Self {
        let (url, management) = (here.amqp_url(), here.management_url());
        Self { runtime, ballast_mib, name: "moves", beside: None, stdout: None, data: None, network: None, url, management }
    }
}

pub(crate) struct Stage {
    pub(crate) setting: Setting,
    pub(crate) broker: Arc<RabbitMq>,
    pub(crate) queue: String,
    /// The container that owns the queue.
    pub(crate) container: String,
    publishers: Vec<JoinHandle<u64>>,
    stop: Arc<AtomicBool>,
    bundle: Option<Bundle>,
}

impl Stage {
    /// Starts everything and waits until the counter counts.
    pub(crate) async fn begin(setting: Setting) -> Self {
        let config = RabbitMqConfig::new(&setting.url).and_then(|config| config.with_management(&setting.management)).unwrap();
        let broker = Arc::new(RabbitMq::new(config).unwrap());
        // Each its own: the journal of a lost source stays with its queue.
        let begun = BEGUN.fetch_add(1, Ordering::Relaxed);
        let queue = format!("orders-{}-{}-{}-{begun}", setting.name, setting.runtime, setting.ballast_mib);
        let admin = broker.connect("test-admin").await.unwrap();
        let options = QueueOptions { kind: QueueKind::Quorum, single_active_consumer: false, bytes_max: None };
        admin.declare(&queue, &options).await.unwrap();
        let effects = QueueOptions { kind: QueueKind::Classic, single_active_consumer: false, bytes_max: None };
        admin.declare(&format!("{queue}.out"), &effects).await.unwrap();
        admin.close().await;

        let container = format!("counter-{}", setting.ballast_mib);
        let bundle = start(&setting, &container, &queue);
        let stop = Arc::new(AtomicBool::new(false));
        let publishers = (0..PUBLISHERS)
            .map(|number| tokio::spawn(publish(Arc::clone(&broker), queue.clone(), number, RATE, Arc::clone(&stop))))
            .collect();
        let stage = Self { setting, broker, queue, container, publishers, stop, bundle: Some(bundle) };
        // A large one fills its memory first.
        let begun = Instant::now();
        let admin = stage.broker.connect("test-admin").await.unwrap();
        while admin.queue_status(&stage.queue).await.unwrap().is_none_or(|status| status.consumers == 0) {
            assert!(begun.elapsed() < MIGRATION_DEADLINE, "the counter does not consume");
            sleep(Duration::from_millis(50)).await;
        }
        admin.close().await;
        sleep(Duration::from_secs(1)).await;
        stage
    }

    /// `ms2m migrate` of the container that owns the queue, with these options instead of or beside the usual ones.
    pub(crate) fn command(&self, options: &[(&str, &str)]) -> Command {
        let usual = [
            ("--source", self.container.as_str()),
            ("--runtime", self.setting.runtime),
            ("--broker", &self.setting.url),
            ("--management", &self.setting.management),
            ("--queue", &self.queue),
            ("--work-dir", "/run/ms2m"),
            ("--output", "json"),
        ];
        let usual = usual.iter().filter(|(name, _)| !options.iter().any(|(other, _)| other == name));
        let mut command = Command::new(env!("CARGO_BIN_EXE_ms2m"));
        command.args(["migrate", "--local"]).args(usual.chain(options).flat_map(|(name, value)| [name, value]));
        command
    }

    /// The name of the copy that this migration makes.
    pub(crate) fn copy(&self, number: u32) -> String {
        format!("{}-m-{number}", self.container.split("-m").next().unwrap_or_default())
    }

    /// One migration to its end.
    pub(crate) async fn migrate(&mut self, number: u32, more: &[&str]) -> Value {
        let copy = self.copy(number);
        let child = self.command(&[("--copy", &copy)]).args(more).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let output = tokio::time::timeout(MIGRATION_DEADLINE, child.wait_with_output()).await.expect("in time").unwrap();
        assert!(!output.stdout.is_empty(), "{}: see above", output.status);
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        if report["outcome"] == "completed" {
            assert!(output.status.success(), "{} {report:#}", output.status);
            self.container = copy;
        }
        sleep(PAUSE).await;
        report
    }

    /// Lets everything be applied, audits, and removes all there is.
    pub(crate) async fn end(self) {
        let (audit, waiting) = self.close().await;
        assert_eq!((audit.lost, audit.doubled, audit.reordered), (0, 0, 0), "{audit:?}");
        assert!(audit.exact, "{audit:?}");
        assert_eq!(waiting, 0, "messages that nobody has applied");
    }

    /// The same, whatever the audit says; also how many messages wait in the queue.
    pub(crate) async fn close(mut self) -> (audit::Audit, u32) {
        self.stop.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        for publisher in self.publishers.drain(..) {
            sent.push(publisher.await.unwrap());
        }
        let audit = audit::audit(&self.broker, &format!("{}.out", self.queue), &sent).await;
        println!("{} {} MiB: {audit:?}", self.setting.runtime, self.setting.ballast_mib);
        let removed = Bundle::command(self.setting.runtime).args(["delete", "--force", &self.container]).status().unwrap();
        assert!(removed.success());
        self.bundle.take();
        let place = PathBuf::from("/run/ms2m/containers").join(&self.container);
        let _ = std::process::Command::new("umount").arg(place.join("rootfs")).output();
        let admin = self.broker.connect("test-admin").await.unwrap();
        let waiting = admin.queue_status(&self.queue).await.unwrap().unwrap().ready;
        admin.delete(&self.queue).await.unwrap();
        admin.close().await;
        std::fs::remove_dir_all("/run/ms2m").unwrap();
        (audit, waiting)
    }
}

fn start(setting: &Setting, container: &str, queue: &str) -> Bundle {
    let counter = workspace_program("counter", "counter").unwrap();
    let ballast = setting.ballast_mib.to_string();
    let out = format!("{queue}.out");
    let words =
        ["--broker", setting.url.as_str(), "--queue", queue, "--queue-type", "quorum", "--effects-to", &out, "--ballast-mib", &ballast];
    let words = std::iter::once(counter.into_os_string()).chain(words.iter().map(Into::into));
    let mut bundle = Bundle::new(format!("/run/bundle-{container}"), words).unwrap();
    bundle.edit(|spec| adapt(spec, setting)).unwrap();
    std::fs::create_dir_all(bundle.upper().join("etc")).ok();
    std::fs::write(bundle.rootfs().join("etc/hostname"), format!("{container}\n")).unwrap();
    let mut command = Bundle::command(setting.runtime);
    if let Some(file) = &setting.stdout {
        command.stdout(std::fs::File::create(file).unwrap());
    }
    let status = command.args(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(container).status();
    assert!(status.unwrap().success(), "{} does not start the container", setting.runtime);
    bundle
}

fn adapt(spec: &mut Spec, setting: &Setting) {
    let process = spec.process_mut().as_mut().unwrap();
    if let Some(beside) = setting.beside {
        let shell = ["/bin/sh".to_owned(), "-c".to_owned(), format!("{beside} & exec \"$@\""), "sh".to_owned()];
        let words = shell.into_iter().chain(process.args().iter().flatten().cloned()).collect();
        process.set_args(Some(words));
    }
    if let Some(data) = &setting.data {
        let options = vec!["bind".to_owned()];
        let mount = MountBuilder::default().destination("/data").typ("bind").source(data).options(options).build().unwrap();
        spec.mounts_mut().get_or_insert_default().push(mount);
    }
    if let Some(network) = &setting.network {
        let namespace = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Network).path(network).build().unwrap();
        spec.linux_mut().as_mut().unwrap().namespaces_mut().get_or_insert_default().push(namespace);
    }
}
