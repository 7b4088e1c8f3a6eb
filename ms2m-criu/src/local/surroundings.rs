//! What CRIU is given for the mounts that it does not make itself.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, Result};
use oci_spec::runtime::LinuxDeviceType;
use rustix::fs::{FileType, Mode};
use rustix::mount::MountFlags;

use super::bundle::{Bundle, io, make_directory};
use super::cgroup::Cgroup;
use super::mount;
use super::template::Template;
use crate::runtime::{External, ExternalKind, bound_from, is_of_the_pod};
use crate::tree::{TreeLimits, unpack};

/// The devices that every container has (OCI runtime specification, "Default Devices"), with major and minor number.
const DEVICES: [(&str, u32, u32); 6] = [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Provides the mounts that are known beforehand.
pub(crate) fn prepare(bundle: &Bundle, template: &Template) -> Result<()> {
    make_directory(&bundle.mounts(), 0o700)?;
    let empty = bundle.mounts().join("empty");
    make_directory(&empty, 0o755)?;
    if !mount::is_mounted(&empty)? {
        mount::tmpfs("size=4k,mode=0555", MountFlags::RDONLY, &empty)?;
    }
    template.externals.iter().try_for_each(|external| tmpfs(bundle, template, external).map(drop))
}

/// Where CRIU finds an external mount of the checkpoint; its content is unpacked from `volume`.
pub(super) fn source(bundle: &Bundle, template: &Template, cgroup: &Cgroup, external: &External, volume: Option<&Path>) -> Result<PathBuf> {
    let missing = |what: &str| {
        let message = format!("the checkpoint has {what} that the copy's configuration lacks");
        Error::undo(ErrorKind::Unsupported, message).with("destination", external.destination.display())
    };
    match &external.kind {
        ExternalKind::MaskedFile => Ok("/dev/null".into()),
        ExternalKind::MaskedDirectory => Ok(bundle.mounts().join("empty")),
        ExternalKind::Cgroup { controllers } => {
            cgroup.directory(controllers.as_deref()).map(Path::to_owned).ok_or_else(|| missing("a cgroup hierarchy"))
        }
        ExternalKind::Bind => {
            if external.destination == template.identity_file {
                return Ok(bundle.identity());
            }
            let source = bound_from(&template.spec, &external.destination).ok_or_else(|| missing("a mount"))?;
            // A copy on the source's own machine shares it.
            if let Some(volume) = volume.filter(|_| bundle.given) {
                if !is_of_the_pod(&external.destination, source) {
                    return Err(missing("the content of a volume"));
                }
                unpack_volume(volume, source)?;
            }
            Ok(source.to_owned())
        }
        ExternalKind::Tmpfs { .. } => {
            let known = template.externals.iter().find(|known| known.destination == external.destination);
            let known = known.ok_or_else(|| missing("a tmpfs"))?;
            let place = tmpfs(bundle, template, known)?.ok_or_else(|| missing("a tmpfs"))?;
            if let Some(volume) = volume {
                unpack_volume(volume, &place)?;
            }
            Ok(place)
        }
    }
}

fn unpack_volume(volume: &Path, place: &Path) -> Result<()> {
    let file = File::open(volume).map_err(io("the content of a volume", volume))?;
    Ok(unpack(place, TreeLimits::default(), BufReader::with_capacity(1 << 18, file))?)
}

/// A tmpfs for the copy, made if it is none yet.
fn tmpfs(bundle: &Bundle, template: &Template, external: &External) -> Result<Option<PathBuf>> {
    let ExternalKind::Tmpfs { options } = &external.kind else { return Ok(None) };
    let place = bundle.mounts().join(external.volume());
    make_directory(&place, 0o755)?;
    if !mount::is_mounted(&place)? {
        mount::tmpfs(options, MountFlags::empty(), &place)?;
        if external.destination == Path::new("/dev") {
            devices(&place, template)?;
        }
    }
    Ok(Some(place))
}

/// What the runtime would have put there.
fn devices(place: &Path, template: &Template) -> Result<()> {
    let fail = |name: &str| io("a device", &place.join(name));
    let node = |name: &str, kind, major, minor, mode: u32| {
        let path = place.join(name);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, Mode::from_raw_mode(mode), rustix::fs::makedev(major, minor))
            // The umask has taken its share.
            .and_then(|()| rustix::fs::chmod(&path, Mode::from_raw_mode(mode)))
            .map_err(|error| fail(name)(error.into()))
    };
    for (name, major, minor) in DEVICES {
        node(name, FileType::CharacterDevice, major, minor, 0o666)?;
    }
    for device in template.spec.linux().iter().flat_map(|linux| linux.devices().iter().flatten()) {
        let Ok(name) = device.path().strip_prefix("/dev") else { continue };
        let kind = match device.typ() {
            LinuxDeviceType::B => FileType::BlockDevice,
            LinuxDeviceType::P => FileType::Fifo,
            _ => FileType::CharacterDevice,
        };
        if let Some(directory) = name.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            make_directory(&place.join(directory), 0o755)?;
        }
        if !place.join(name).exists() {
            let number = |number: i64| u32::try_from(number).unwrap_or(0);
            node(&name.display().to_string(), kind, number(device.major()), number(device.minor()), device.file_mode().unwrap_or(0o666))?;
        }
    }
    for (name, to) in LINKS {
        std::os::unix::fs::symlink(to, place.join(name)).map_err(fail(name))?;
    }
    for mount in template.spec.mounts().iter().flatten() {
        if let Ok(name) = mount.destination().strip_prefix("/dev")
            && !name.as_os_str().is_empty()
        {
            let at = place.join(name);
            // What is mounted on a file needs a file there.
            if mount.source().as_ref().is_some_and(|source| source.is_file()) {
                File::create(&at).map_err(io("a place for a mount", &at))?;
            } else {
                make_directory(&at, 0o755)?;
            }
        }
    }
    Ok(())
}
