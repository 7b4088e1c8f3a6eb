//! A virtual machine with a kernel that tracks dirty pages, which CRIU's pre-dump needs and the host's kernel may lack.
//!
//! It is emulated: a boot takes 20 to 60 s and everything in it is 10 to 20 times slower, so one test should check several things, and
//! compare times only with other times from the same boot. It has Debian 13: CRIU 4.1, runc 1.1, crun 1.21, cgroup v2, `iptables`.
//! [`Bundle`](crate::Bundle) works in there. The host's 127.0.0.1 is 10.0.2.2.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

use crate::inside::{AMQP, INSIDE, MANAGEMENT, RAN, body_here, rabbitmq, test_name};
use crate::{Here, MachineError, Options, is_inside, paths};

/// The host's loopback as the guest reaches it.
const HOST: &str = "10.0.2.2";

/// Boots one, runs a shell command in it as root, with this directory at `/share`, and ends it.
///
/// Its output, errors included, is the `stdout`; what `stderr` says is about the virtual machine itself.
///
/// # Errors
/// [`MachineError`] when the script that does all this cannot be run. A machine that does not come up is a failed [`Output`].
pub fn run(directory: &Path, command: &str) -> Result<Output, MachineError> {
    boot(&Options::default(), directory, command)
}

/// Runs the body of the calling test in a virtual machine, as [`inside`](crate::inside()) does in a private one.
///
/// Of the options it takes the deadline, the environment, the RabbitMQ, [`Options::memory_mib`] and [`Options::program`].
#[track_caller]
pub fn inside(options: &Options, body: impl FnOnce(&Here)) {
    if is_inside() {
        return body_here(options, body);
    }
    let name = test_name();
    let share = tempfile::Builder::new().prefix("ms2m-vm-").tempdir().expect("a directory");
    let test = env::current_exe().expect("the test's program");
    for program in options.programs.iter().chain([&test]) {
        let target = share.path().join(program.file_name().expect("a name"));
        fs::copy(program, &target).unwrap_or_else(|error| panic!("cannot copy {}: {error}", program.display()));
    }
    let output = boot(options, share.path(), &script(options, &test, &name)).unwrap_or_else(|error| panic!("{error}"));
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} failed inside its virtual machine ({}); see above", output.status);
    let ran = share.path().join("ran").exists();
    assert!(ran, "{name} did not run inside its virtual machine: the thread that calls `inside` must be the test's own");
}

/// A program of [`Options::program`], as the body finds it: here on the host, in `/share` in the virtual machine.
#[must_use]
pub fn program(path: &Path) -> PathBuf {
    if is_inside() { Path::new("/share").join(path.file_name().unwrap_or_default()) } else { path.to_owned() }
}

fn boot(options: &Options, directory: &Path, command: &str) -> Result<Output, MachineError> {
    let script = paths::workspace().unwrap_or_default().join("testbed/vm");
    let mut vm = Command::new(&script);
    vm.arg("run").arg(directory).arg(command).stdin(Stdio::null());
    vm.env("VM_MEM", options.memory_mib.to_string()).env("VM_TIMEOUT", options.deadline.as_secs().to_string());
    vm.output().map_err(MachineError::io("run", script))
}

/// The test's program is copied into memory: every page of it would otherwise come through the emulated wire.
fn script(options: &Options, test: &Path, name: &str) -> String {
    let mut variables = vec![(INSIDE.to_owned(), "1".to_owned())];
    variables.extend(options.environment.iter().map(|(name, value)| (name.display().to_string(), value.display().to_string())));
    if options.rabbitmq {
        let there = |url: String| url.replace("127.0.0.1", HOST);
        let server = rabbitmq();
        variables.extend([(AMQP.to_owned(), there(server.amqp_url())), (MANAGEMENT.to_owned(), there(server.management_url()))]);
    }
    let variables: Vec<_> = variables.iter().map(|(name, value)| quoted(&format!("{name}={value}"))).collect();
    let test = quoted(&test.file_name().unwrap_or_default().to_string_lossy());
    format!(
        "mkdir -p /base && mount --bind / /base && cp /share/{test} /run/test && cd / && \
         env {} /run/test {} --exact --include-ignored --nocapture --test-threads=1; result=$?; \
         [ ! -e {RAN} ] || cp {RAN} /share/ran; exit $result",
        variables.join(" "),
        quoted(name)
    )
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
