//! From what has arrived to a living container.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use ms2m_core::{Error, ErrorKind, Result};

use super::arrival::Arrived;
use super::bundle::{Bundle, io, write};
use super::cgroup::Cgroup;
use super::launch::{Launched, launch_cgroup};
use super::surroundings;
use super::template::Template;
use crate::criu::Cause;
use crate::runtime::{External, Runtime, hangs, last_words};
use crate::tree::{TreeLimits, unpack};

/// How often it is looked whether CRIU still works.
const LOOK: Duration = Duration::from_millis(10);
/// A runtime needs less to notice that its CRIU has ended.
const CRIU_GONE: Duration = Duration::from_secs(5);
/// One that was killed at once is never seen.
const CRIU_LATE: Duration = Duration::from_secs(15);
/// How much of CRIU's log goes into an error.
const LOG_LINES: usize = 6;

/// Puts the container's files and mounts into their places. Connections that its images still hold are restored when it is `connected`.
pub(crate) fn furnish(bundle: &Bundle, template: &Template, arrived: &Arrived, connected: bool) -> Result<()> {
    let layer = arrived.directory.join("rootfs-diff.tar");
    match File::open(&layer) {
        Ok(file) => unpack(&bundle.rootfs(), TreeLimits::default(), std::io::BufReader::with_capacity(1 << 18, file))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(io("the writable layer", &layer)(error)),
    }
    bundle.identify(template)?;
    let cgroup = Cgroup::named(&bundle.cgroup);
    let connections = if connected { "tcp-established" } else { "tcp-close" };
    // How the network was locked (not at all) stands in the images. As a line here it would crash CRIU 4.1.
    let mut config = format!("{connections}\nmanage-cgroups=ignore\n");
    for fact in &arrived.manifest.mounts {
        let Some(external) = External::from_fact(fact) else { continue };
        let volume = fact.volume.as_ref().map(|volume| arrived.directory.join("volumes").join(volume));
        let source = surroundings::source(bundle, template, &cgroup, &external, volume.as_deref())?;
        config.push_str(&format!("external {}\n", external.restore_option(&source)));
    }
    write(&bundle.criu_config(), &config)
}

/// Has the runtime restore the container.
pub(crate) async fn restore(
    runtime: &Runtime,
    bundle: &Bundle,
    arrived: &Arrived,
    mut launched: Launched,
    deadline: Duration,
) -> Result<Duration> {
    let begun = Instant::now();
    let stderr = bundle.own().join("stderr.log");
    let said = std::fs::metadata(&stderr).map_or(0, |file| file.len());
    launched.go(arrived)?;
    // Not awaited through `output`: the copy keeps the standard streams open.
    let error = bundle.own().join("restore.err");
    let child = &mut launched.child;
    let launcher = child.id().and_then(|pid| i32::try_from(pid).ok());
    let status = tokio::select! {
        status = tokio::time::timeout(deadline, child.wait()) => match status {
            Err(_) => return Err(hangs(&format!("{} restore", runtime.flavor()), deadline)),
            Ok(status) => status.map_err(|error| Error::undo(ErrorKind::Other, "the runtime cannot be waited for").caused_by(error))?,
        },
        () = criu_ended(&bundle.id, launcher) => {
            let message = format!("{} works without a CRIU: that was killed, or never began; see `dmesg`, and try again", runtime.flavor());
            return Err(Error::undo(ErrorKind::Unavailable, message).with("container", &bundle.id));
        }
    };
    if status.success() {
        return Ok(begun.elapsed());
    }
    let words = std::fs::read(&error).map(|bytes| last_words(&bytes)).unwrap_or_default();
    let complaints = complaints(&bundle.restore_log());
    let why = match Cause::of(&complaints.iter().map(String::as_str).collect::<Vec<_>>()) {
        Some(cause) => format!("{cause}; CRIU's log: {}", complaints.join("; ")),
        None if !complaints.is_empty() => complaints.join("; "),
        None if !words.is_empty() => words,
        None => match tail(&stderr, said) {
            words if words.is_empty() => format!("it ended with {status} and said nothing: run it by hand"),
            words => format!("it ended with {status} and said: {words}"),
        },
    };
    let message = format!("{} could not restore the copy: {why}", runtime.flavor());
    Err(Error::undo(ErrorKind::Other, message).with("container", &bundle.id))
}

/// Waits until the runtime has no CRIU for a while. It would wait for ever: a child of CRIU's holds the socket open on
/// which the runtime listens.
async fn criu_ended(id: &str, runtime: Option<i32>) {
    let cgroup = Cgroup::named(&launch_cgroup(id));
    let (mut seen, mut since) = (false, Instant::now());
    loop {
        tokio::time::sleep(LOOK).await;
        let is_criu = |pid: i32| {
            let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
            stat.is_ok_and(|stat| stat.comm == "criu" && Some(stat.ppid) == runtime && stat.state != 'Z')
        };
        if cgroup.processes().is_ok_and(|all| all.into_iter().any(is_criu)) {
            (seen, since) = (true, Instant::now());
        } else if since.elapsed() > if seen { CRIU_GONE } else { CRIU_LATE } {
            return;
        }
    }
}

/// What a file got since it had this length.
fn tail(file: &Path, from: u64) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    last_words(bytes.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default())
}

/// The lines in which CRIU says what went wrong.
fn complaints(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("Error (") && !line.contains("RLIMIT_NOFILE")).collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}
