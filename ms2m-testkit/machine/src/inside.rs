//! A test that runs in a machine.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ExitStatus};
use std::sync::OnceLock;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use ms2m_testkit_rabbitmq::RabbitMqServer;

use crate::{Leftovers, Machine, Options, Snapshot};

pub(crate) const INSIDE: &str = "MS2M_INSIDE_MACHINE";
pub(crate) const AMQP: &str = "MS2M_MACHINE_AMQP_URL";
pub(crate) const MANAGEMENT: &str = "MS2M_MACHINE_MANAGEMENT_URL";
/// Says that the body has run, which a test program that found no such test would not.
pub(crate) const RAN: &str = "/run/ms2m-body-ran";

/// The machine, for the body of a test in it.
#[derive(Debug)]
pub struct Here {
    fresh: Snapshot,
}

impl Here {
    /// What is there now and was not when the body began. Waits up to 2 s for what is just ending.
    #[must_use]
    pub fn leftovers(&self) -> Leftovers {
        self.fresh.leftovers()
    }

    /// The same at this moment, without waiting: what the body has made so far.
    #[must_use]
    pub fn made(&self) -> Leftovers {
        self.fresh.compare()
    }

    /// Where the RabbitMQ of [`Options::rabbitmq`] listens, credentials included. Panics without that option.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        env::var(AMQP).expect("the test asks for a RabbitMQ with Options::rabbitmq")
    }

    /// Its management API, without credentials. Panics without [`Options::rabbitmq`].
    #[must_use]
    pub fn management_url(&self) -> String {
        env::var(MANAGEMENT).expect("the test asks for a RabbitMQ with Options::rabbitmq")
    }
}

/// Whether this process runs in a machine that [`inside`] has started.
#[must_use]
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs the body of the calling test in a fresh machine.
///
/// Called from the test's own thread, whose name is the test's. Panics when the machine cannot start, when the body panics or takes
/// too long, and when it leaves something over.
#[track_caller]
pub fn inside(options: &Options, body: impl FnOnce(&Here)) {
    if is_inside() { body_here(options, body) } else { outside(options) }
}

/// The same for an asynchronous body, on a Tokio runtime of its own with two threads.
#[track_caller]
pub fn inside_async<F: Future<Output = ()>>(options: &Options, body: impl FnOnce(&Here) -> F) {
    inside(options, |here| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(body(here));
    });
}

/// The body itself, in the machine.
pub(crate) fn body_here(options: &Options, body: impl FnOnce(&Here)) {
    let here = Here { fresh: Snapshot::take() };
    body(&here);
    let left = here.leftovers();
    assert!(options.may_leave || left.is_empty(), "the body passed, but {left}");
    fs::write(RAN, "").expect("/run is writable");
}

/// libtest names a test's thread after the test.
#[track_caller]
pub(crate) fn test_name() -> String {
    let name = thread::current().name().map(str::to_owned).filter(|name| name != "main");
    name.expect("called from a test's own thread")
}

#[track_caller]
fn outside(options: &Options) {
    let name = test_name();
    let machine = Machine::start(options).unwrap_or_else(|error| panic!("{error}"));
    let mut command = machine.command("env");
    let directory = env::current_dir().expect("a current directory");
    command.arg("--chdir").arg(directory).arg(env::current_exe().expect("the test's program"));
    command.args([&name, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"]);
    command.env(INSIDE, "1").envs(options.environment.iter().map(|(name, value)| (name, value)));
    if options.rabbitmq {
        let server = rabbitmq();
        command.env(AMQP, server.amqp_url()).env(MANAGEMENT, server.management_url());
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let errors = writer.try_clone().expect("a pipe");
    let child = command.stdin(std::process::Stdio::null()).stdout(writer).stderr(errors).spawn().expect("nsenter");
    // It holds the pipe's other end.
    drop(command);
    let (status, ran) = thread::scope(|scope| {
        let end = scope.spawn(|| end(child, machine, options.deadline));
        // Printed by this thread, so that the test's output is captured as usual.
        BufReader::new(reader).split(b'\n').map_while(Result::ok).for_each(|line| println!("{}", String::from_utf8_lossy(&line)));
        end.join().expect("no panic")
    });
    let status = status.unwrap_or_else(|| panic!("{name} was ended inside its machine after {:?}", options.deadline));
    assert!(status.success(), "{name} failed inside its machine ({status}); see above");
    assert!(ran, "{name} did not run inside its machine: the thread that calls `inside` must be the test's own");
}

/// Waits for the body, then ends the machine with whatever still holds the pipe. No status after the deadline.
fn end(mut child: Child, machine: Machine, deadline: Duration) -> (Option<ExitStatus>, bool) {
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(None) if begun.elapsed() < deadline => sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => break None,
            Ok(status) => break status,
        }
    };
    let ran = machine.path(RAN).exists();
    drop(machine);
    let _ = child.wait();
    (status, ran)
}

/// One for all tests of this program. Its keeper ends it with this process.
pub(crate) fn rabbitmq() -> &'static RabbitMqServer {
    static SERVER: OnceLock<RabbitMqServer> = OnceLock::new();
    SERVER.get_or_init(|| RabbitMqServer::start(&ms2m_testkit_rabbitmq::Options::default()).unwrap_or_else(|error| panic!("{error}")))
}
