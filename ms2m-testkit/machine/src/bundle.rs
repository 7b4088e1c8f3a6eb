//! A container to be, for a test in a machine.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, ProcessBuilder, RootBuilder, Spec, SpecBuilder, get_default_mounts,
    get_default_namespaces,
};

use crate::MachineError;

/// Where a program that is not Debian's lies in the container.
const PROGRAMS: &str = "usr/local/bin";

/// An OCI bundle: `config.json` and `rootfs`, an overlay over the machine's Debian. Own process, mount, UTS and IPC namespaces, the
/// machine's network, `/proc`, `/dev` and `/sys`. Unmounted and removed when dropped.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    spec: Spec,
}

impl Bundle {
    /// Makes one in a new directory, which must not be on an overlay: somewhere in `/tmp`, `/run` (memory) or `/var/tmp` (disk).
    ///
    /// The first word is the program. When it is a file of the machine outside Debian, such as one from the target directory, it
    /// becomes part of the container's image, in `/usr/local/bin`.
    ///
    /// # Errors
    /// [`MachineError`] when a file cannot be made, copied or mounted.
    pub fn new<W: Into<OsString>>(path: impl Into<PathBuf>, words: impl IntoIterator<Item = W>) -> Result<Self, MachineError> {
        let path = path.into();
        let mut words: Vec<_> = words.into_iter().map(|word| word.into().to_string_lossy().into_owned()).collect();
        for directory in ["image", "upper", "work", "rootfs"] {
            let directory = path.join(directory);
            fs::create_dir_all(&directory).map_err(MachineError::io("make", directory))?;
        }
        if let Some(program) = words.first_mut() {
            install(&path.join("image"), program)?;
        }
        let overlay = format!("lowerdir={0}/image:/base,upperdir={0}/upper,workdir={0}/work", path.display());
        run(Command::new("mount").args(["-t", "overlay", "-o", &overlay, "overlay"]).arg(path.join("rootfs")))?;
        let spec = spec(words).map_err(|error| MachineError::io("describe", &path)(std::io::Error::other(error)))?;
        let bundle = Self { path, spec };
        bundle.save()?;
        Ok(bundle)
    }

    /// The bundle's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The container's root as seen from outside it.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    /// What the container has changed in its root: its writable layer.
    #[must_use]
    pub fn upper(&self) -> PathBuf {
        self.path.join("upper")
    }

    /// Changes `config.json`.
    ///
    /// # Errors
    /// [`MachineError`] when it cannot be written.
    pub fn edit(&mut self, change: impl FnOnce(&mut Spec)) -> Result<&mut Self, MachineError> {
        change(&mut self.spec);
        self.save()?;
        Ok(self)
    }

    /// Sets a variable of the container's environment.
    ///
    /// # Errors
    /// [`MachineError`] when `config.json` cannot be written.
    pub fn env(&mut self, name: &str, value: &str) -> Result<&mut Self, MachineError> {
        self.edit(|spec| {
            if let Some(process) = spec.process_mut() {
                process.env_mut().get_or_insert_default().push(format!("{name}={value}"));
            }
        })
    }

    /// Lets the program write its output to `/log` in the container, which is [`Bundle::rootfs`]`/log` outside.
    ///
    /// A shell opens it there: CRIU refuses a file that was opened outside the container.
    ///
    /// # Errors
    /// [`MachineError`] when `config.json` cannot be written.
    pub fn log(&mut self) -> Result<&mut Self, MachineError> {
        self.edit(|spec| {
            if let Some(process) = spec.process_mut() {
                let shell = ["/bin/sh", "-c", "exec \"$@\" >>/log 2>&1", "sh"].map(str::to_owned);
                let words = shell.into_iter().chain(process.args().iter().flatten().cloned()).collect();
                process.set_args(Some(words));
            }
        })
    }

    /// A runtime's command with its standard streams on `/dev/null`, as containers here need it: a file or a terminal from outside
    /// the container cannot be dumped.
    #[must_use]
    pub fn command(runtime: &str) -> Command {
        let mut command = Command::new(runtime);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn save(&self) -> Result<(), MachineError> {
        let path = self.path.join("config.json");
        self.spec.save(&path).map_err(|error| MachineError::io("write", path)(std::io::Error::other(error)))
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // Lazily: a container that a failed test has left holds it.
        let _ = Command::new("umount").arg("--lazy").arg(self.rootfs()).stderr(Stdio::null()).status();
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn install(image: &Path, program: &mut String) -> Result<(), MachineError> {
    let source = PathBuf::from(program.as_str());
    let debian = Path::new("/base").join(source.strip_prefix("/").unwrap_or(&source));
    let Some(name) = source.file_name().filter(|_| source.is_absolute() && !debian.exists()) else { return Ok(()) };
    let folder = image.join(PROGRAMS);
    fs::create_dir_all(&folder).map_err(MachineError::io("make", &folder))?;
    fs::copy(&source, folder.join(name)).map_err(MachineError::io("copy", &source))?;
    *program = Path::new("/").join(PROGRAMS).join(name).display().to_string();
    Ok(())
}

fn spec(words: Vec<String>) -> Result<Spec, OciSpecError> {
    let shared = [LinuxNamespaceType::Network, LinuxNamespaceType::User, LinuxNamespaceType::Cgroup, LinuxNamespaceType::Time];
    let mut namespaces = get_default_namespaces();
    namespaces.retain(|namespace| !shared.contains(&namespace.typ()));
    if !namespaces.iter().any(|namespace| namespace.typ() == LinuxNamespaceType::Uts) {
        namespaces.push(LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Uts).build()?);
    }
    let mounts: Vec<_> = get_default_mounts().into_iter().filter(|mount| mount.destination() != Path::new("/sys/fs/cgroup")).collect();
    let environment = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"].map(str::to_owned);
    SpecBuilder::default()
        .version("1.2.0")
        .hostname("container")
        .mounts(mounts)
        .root(RootBuilder::default().path("rootfs").readonly(false).build()?)
        .process(ProcessBuilder::default().terminal(false).cwd("/").args(words).env(environment.to_vec()).build()?)
        .linux(LinuxBuilder::default().namespaces(namespaces).build()?)
        .build()
}

fn run(command: &mut Command) -> Result<(), MachineError> {
    let output = command.stdin(Stdio::null()).output().map_err(MachineError::io("run", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(MachineError::Command {
        command: format!("{command:?}"),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
