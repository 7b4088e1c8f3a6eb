//! Starts the processes of a demo: this binary, with hidden commands.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, InstanceId, Result};
use ms2m_testkit::workload::Publisher;
use tokio::time::{Instant, sleep};

use super::process::Process;
use crate::demo::args::{DemoArgs, QueueType};

/// Names the broker to processes.
pub(super) const BROKER_VARIABLE: &str = "MS2M_DEMO_BROKER";
const START_DEADLINE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(1);

/// The directories of a demo.
#[derive(Clone, Debug)]
pub(super) struct Layout(PathBuf);

impl Layout {
    const DIRECTORIES: [&str; 6] = ["processes", "snapshots", "moved", "restored", "sent", "migrations"];

    /// Makes what is missing. Nobody else may look: there are snapshots in it.
    pub(super) fn make(root: &Path) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        for directory in Self::DIRECTORIES {
            let path = root.join(directory);
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|error| {
                Error::fatal(ErrorKind::Other, "a directory of the demo's state cannot be made; choose another --state-dir")
                    .with("directory", path.display())
                    .caused_by(error)
            })?;
        }
        // Processes are started elsewhere.
        let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        Ok(Self(root))
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    pub(super) fn directory(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn process(&self, name: &str) -> Process {
        Process::named(&self.0.join("processes"), name)
    }

    pub(super) fn processes(&self) -> Vec<(String, Process)> {
        Process::all(&self.0.join("processes"))
    }

    pub(super) fn sent(&self, publisher: &str) -> PathBuf {
        self.0.join("sent").join(publisher)
    }
}

/// Starts processes and reaps those that were started here.
#[derive(Debug)]
pub(super) struct Spawner {
    layout: Layout,
    broker: String,
    children: Mutex<Vec<Child>>,
}

impl Spawner {
    pub(super) fn new(layout: Layout, broker: String) -> Self {
        Self { layout, broker, children: Mutex::default() }
    }

    /// Starts a consumer, from nothing or from the snapshot in a file.
    pub(super) async fn consumer(
        &self,
        args: &DemoArgs,
        queue: &str,
        effects: &str,
        id: &InstanceId,
        restore: Option<&Path>,
    ) -> Result<()> {
        let mut command = self.command("demo-consumer", id.as_str())?;
        let kind = match args.queue_type {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
            QueueType::Stream => "stream",
        };
        command.args(["--queue", queue, "--queue-type", kind, "--effects", effects, "--instance", id.as_str()]);
        command.args(["--service-us", &args.service_us.to_string()]).arg("--snapshots").arg(self.layout.directory("snapshots"));
        if args.single_active_consumer {
            command.arg("--single-active-consumer");
        }
        if let Some(path) = restore {
            command.arg("--restore").arg(path);
        }
        self.start(command, id.as_str()).await
    }

    /// Starts a publisher.
    pub(super) async fn publisher(&self, publisher: &Publisher) -> Result<()> {
        let mut command = self.command("demo-publisher", &publisher.name)?;
        command.args(["--name", &publisher.name, "--queue", &publisher.queue]);
        command.args(["--rate", &publisher.rate_per_s.to_string(), "--seed", &publisher.seed.to_string()]);
        command.arg("--log").arg(self.layout.sent(&publisher.name));
        if !publisher.exchange.is_empty() {
            command.args(["--exchange", &publisher.exchange]);
        }
        if let Some(count) = publisher.count {
            command.args(["--count", &count.to_string()]);
        }
        self.start(command, &publisher.name).await
    }

    fn command(&self, what: &str, name: &str) -> Result<Command> {
        let program = std::env::current_exe().map_err(|error| failed(name, error))?;
        let log_path = self.log(name);
        let log = File::options().append(true).create(true).open(&log_path).map_err(|error| failed(name, error))?;
        let mut command = Command::new(program);
        command.arg(what).arg("--process-file").arg(self.layout.process(name).file()).env(BROKER_VARIABLE, &self.broker);
        // A group of its own: neither Ctrl-C at the terminal nor the end of the driver ends it.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        Ok(command)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.layout.directory("processes").join(format!("{name}.log"))
    }

    /// Starts it and waits until it has noted who it is.
    async fn start(&self, mut command: Command, name: &str) -> Result<()> {
        self.reap();
        let mut child = command.spawn().map_err(|error| failed(name, error))?;
        let deadline = Instant::now() + START_DEADLINE;
        let started = loop {
            if self.layout.process(name).lives()? {
                break Ok(());
            }
            let exited = child.try_wait().map_err(|error| failed(name, error))?;
            if exited.is_some() || Instant::now() > deadline {
                let _ = child.kill();
                let text = format!("a process of the demo did not start: {}", self.last_words(name));
                break Err(Error::undo(ErrorKind::Unavailable, text).with("process", name));
            }
            sleep(LOOK).await;
        };
        self.children.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        started
    }

    /// The end of a process' log, for error texts.
    pub(super) fn last_words(&self, name: &str) -> String {
        let log = fs::read_to_string(self.log(name)).unwrap_or_default();
        log.lines().next_back().unwrap_or("it said nothing").to_owned()
    }

    /// Lets the dead go.
    pub(super) fn reap(&self) {
        self.children.lock().unwrap_or_else(PoisonError::into_inner).retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

fn failed(name: &str, error: std::io::Error) -> Error {
    Error::undo(ErrorKind::Unavailable, "a process of the demo cannot be started").with("process", name).caused_by(error)
}
