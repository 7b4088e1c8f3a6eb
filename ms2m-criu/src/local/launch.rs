//! The runtime on its way to a restore.
//!
//! Between a runtime's start and its CRIU lie some 20 to 40 ms: it starts, asks for CRIU's version, makes mounts, and puts CRIU into the container's cgroups, for which the
//! kernel waits for all processors. None of that depends on the last part of a checkpoint, so it is done before anybody stands still: what the runtime starts as its CRIU
//! waits until the images are there.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ms2m_core::{Error, ErrorKind, Result};
use rustix::fs::{CWD, FileType, Mode};
use tokio::process::{Child, Command};

use super::arrival::Arrived;
use super::bundle::{Bundle, io, make_directory, write};
use super::cgroup::Cgroup;
use crate::priority::hurry;
use crate::runtime::{Flavor, Runtime, descriptors, relative};

/// Enters the cgroup, so that it and CRIU can be found should this process be killed.
const LAUNCHER: &str = r#"echo 0 > "$0" && exec "$@""#;
/// In CRIU's place. The first call asks for the version only; one that comes first and wants more finds no images, and that ends the runtime: then it is started
/// once more without this. The others wait for a word, which does not come when the process that would say it has ended.
const STAND_IN: &str = r#"#!/bin/sh
own=${0%/*/*}
mkdir "$own/asked" 2>/dev/null || read -r word < "$own/door" || exit 1
exec "$MS2M_CRIU" "$@"
"#;
/// Where [`STAND_IN`] finds CRIU.
const CRIU: &str = "MS2M_CRIU";
/// More calls than any runtime makes.
const WORDS: &[u8] = b"go\ngo\ngo\ngo\ngo\ngo\ngo\ngo\n";

/// What the runtime is told beside the bundle and the images.
#[derive(Clone, Debug, Default)]
pub(crate) struct How {
    /// Options in front of the command.
    pub(crate) global: Vec<OsString>,
    /// Options of the command.
    pub(crate) options: Vec<OsString>,
    /// The container gets the standard streams of this process, and not files in its bundle.
    pub(crate) inherits: bool,
}

/// Where the runtime itself is while it restores.
pub(crate) fn launch_cgroup(id: &str) -> String {
    format!("{id}.restore")
}

/// A runtime that restores. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(super) child: Child,
    waiting: Option<Waiting>,
}

/// What it waits for.
#[derive(Debug)]
struct Waiting {
    door: File,
    images: PathBuf,
    /// What the standard streams were at the round.
    streams: Vec<String>,
}

impl Launched {
    /// Has it restore.
    pub(crate) fn start(runtime: &Runtime, bundle: &Bundle, how: &How, arrived: &Arrived) -> Result<Self> {
        let child = spawn(runtime, bundle, how, (&arrived.images(), None))?;
        Ok(Self { child, waiting: None })
    }

    /// Has it do what can be done before the images are there. Not with a runtime that is not known to ask for CRIU's version first, and not where CRIU is not in
    /// the search path: nothing is begun then.
    ///
    /// `images` is an empty directory on the file system of what will have arrived.
    pub(crate) fn ahead(runtime: &Runtime, bundle: &Bundle, how: &How, (images, streams): (PathBuf, Vec<String>)) -> Result<Option<Self>> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let criu = std::env::split_paths(&path).map(|place| place.join("criu")).find(|file| file.is_file());
        let Some(criu) = criu.filter(|_| runtime.flavor() == Flavor::Runc) else { return Ok(None) };
        let own = bundle.own();
        let (programs, door) = (own.join("bin"), own.join("door"));
        make_directory(&programs, 0o700)?;
        descriptors::write(&images, &streams)?;
        let stand_in = programs.join("criu");
        write(&stand_in, STAND_IN)?;
        std::fs::set_permissions(&stand_in, std::fs::Permissions::from_mode(0o700)).map_err(io("the stand-in of CRIU", &stand_in))?;
        rustix::fs::mknodat(CWD, &door, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).map_err(|error| io("the pipe", &door)(error.into()))?;
        let open = File::options().read(true).write(true).open(&door).map_err(io("the pipe", &door))?;
        let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&path)))
            .map_err(|error| Error::fatal(ErrorKind::Invalid, "a directory's name has a colon").caused_by(error))?;
        let child = spawn(runtime, bundle, how, (&images, Some([("PATH".into(), path), (CRIU.into(), criu.into())])))?;
        Ok(Some(Self { child, waiting: Some(Waiting { door: open, images, streams }) }))
    }

    /// Whether this one can restore from what has arrived.
    pub(crate) fn fits(&mut self, arrived: &Arrived) -> bool {
        let fits = self.waiting.as_ref().is_none_or(|waiting| descriptors::read(&arrived.images()).as_ref() == Some(&waiting.streams));
        fits && matches!(self.child.try_wait(), Ok(None))
    }

    /// The images are there.
    pub(super) fn go(&mut self, arrived: &Arrived) -> Result<()> {
        let Some(Waiting { door, images, .. }) = &mut self.waiting else { return Ok(()) };
        let from = arrived.images();
        let failed = |error| io("the images", &from)(error);
        for entry in std::fs::read_dir(&from).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let link = images.join(entry.file_name());
            if entry.file_type().map_err(failed)?.is_symlink() {
                // CRIU follows it when it has another root already.
                let to = std::fs::read_link(entry.path()).map_err(failed)?;
                symlink(relative(images, &from).join(to), link).map_err(failed)?;
            } else if entry.file_name() != descriptors::FILE {
                std::fs::hard_link(entry.path(), link).map_err(failed)?;
            }
        }
        door.write_all(WORDS).map_err(io("the pipe to the runtime of", images))
    }
}

fn spawn(runtime: &Runtime, bundle: &Bundle, how: &How, (images, variables): (&Path, Option<[(OsString, OsString); 2]>)) -> Result<Child> {
    let work = bundle.own().join("restore");
    make_directory(&work, 0o700)?;
    let log = |name: &str| {
        let path = bundle.own().join(name);
        File::options().create(true).append(true).open(&path).map_err(io("the log", &path))
    };
    let inner = runtime.command();
    let mut command = match Cgroup::named(&launch_cgroup(&bundle.id)).entrance() {
        Some(entrance) => {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", LAUNCHER]).arg(entrance).arg(inner.as_std().get_program());
            command
        }
        None => Command::new(inner.as_std().get_program()),
    };
    command.args(inner.as_std().get_args()).args(&how.global).envs(variables.into_iter().flatten());
    if runtime.flavor() == Flavor::Runc {
        // Its own words go to a file, because the standard error is the copy's.
        command.arg("--log").arg(bundle.own().join("restore.err"));
    }
    command.args(["restore", "--detach", "--bundle"]).arg(bundle.directory());
    command.arg("--image-path").arg(images).arg("--work-path").arg(work);
    command.args(["--manage-cgroups-mode", "ignore"]).args(&how.options).arg(&bundle.id);
    if !how.inherits {
        command.stdin(Stdio::null()).stdout(log("stdout.log")?).stderr(log("stderr.log")?);
    }
    let child = command.kill_on_drop(true).spawn().map_err(|error| runtime.cannot_start(error))?;
    hurry(child.id());
    Ok(child)
}
