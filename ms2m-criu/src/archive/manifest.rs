//! `manifest.json`: the facts that travel with a checkpoint of ours.

use ms2m_core::Part;
use serde::{Deserialize, Serialize};

use super::error::{ArchiveError, Result, Rule};

/// The manifest's name in the archive.
pub const MANIFEST: &str = "manifest.json";

/// The directory of all containers in the archive.
pub(super) const CONTAINERS: &str = "containers";

/// What a checkpoint of ours says of itself. Read on arrival, before anything is restored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format: [`Manifest::FORMAT`].
    pub format: u32,
    /// Always `ms2m`.
    pub engine: String,
    /// Which part of the checkpoint this archive is. The image directories that it builds on travel in archives of their own.
    #[serde(default = "whole")]
    pub part: Part,
    /// When the checkpoint was taken, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at_ms: Option<u64>,
    /// The OCI runtime that ran the containers; absent for a bare process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeFact>,
    /// Whether the mounts are named as the runtime itself names them for CRIU, so that a container engine can restore it from an image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub for_image: bool,
    /// CRIU's version, for example `4.2.1`.
    pub criu_version: String,
    /// As in `uname -m`, for example `x86_64`.
    pub architecture: String,
    /// As in `uname -r`.
    pub kernel: String,
    /// CPU features, by the names of `/proc/cpuinfo`, that the processes may use and the target must have.
    #[serde(default)]
    pub cpu_features: Vec<String>,
    /// The containers, frozen together.
    pub containers: Vec<ContainerManifest>,
}

/// An OCI runtime.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RuntimeFact {
    /// `runc` or `crun`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// One container of a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ContainerManifest {
    /// Its name within the checkpoint; also the name of its directory.
    pub name: String,
    /// Its id at the source.
    pub id: String,
    /// The base image by digest (`NAME@sha256:…`), if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_image: Option<String>,
    /// What was mounted.
    #[serde(default)]
    pub mounts: Vec<MountFact>,
    /// How long it was frozen, by CRIU's own statistics, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen_us: Option<u64>,
    /// Which image directory builds on which. Filled in by [`TarPlan::scan`](super::TarPlan::scan).
    #[serde(default)]
    pub parents: Vec<ParentLink>,
}

/// One mount of a container, to be compared with what the target has prepared. Never mounted from here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MountFact {
    /// Where in the container.
    pub destination: String,
    /// `bind`, `tmpfs`, `proc` …
    pub kind: String,
    /// Whether it was mounted read-only.
    #[serde(default)]
    pub read_only: bool,
    /// The file name in `volumes/` that holds its content, when that travels along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
}

/// An image directory that holds only what has changed since another one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ParentLink {
    /// The image directory, for example `checkpoint`.
    pub directory: String,
    /// The one before it, for example `pre-2`.
    pub parent: String,
}

impl Manifest {
    /// The version of the format that is written, and the only one that is read.
    pub const FORMAT: u32 = 1;

    /// How many containers one checkpoint may have.
    pub const CONTAINERS: usize = 256;

    /// A manifest of these containers; the facts of the machine are filled in by the caller.
    #[must_use]
    pub fn new(containers: Vec<ContainerManifest>) -> Self {
        Self {
            format: Self::FORMAT,
            engine: "ms2m".into(),
            part: whole(),
            taken_at_ms: None,
            runtime: None,
            for_image: false,
            criu_version: String::new(),
            architecture: std::env::consts::ARCH.into(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            cpu_features: Vec::new(),
            containers,
        }
    }

    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`Rule::OwnFormat`] when it is not one, is of another version, or names what cannot be.
    pub fn parse(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
            engine: String,
        }
        let refuse = |reason: String| ArchiveError::refuse(Rule::OwnFormat, MANIFEST, reason);
        let malformed = |error: serde_json::Error| refuse(format!("it is malformed: {error}"));
        // First of all the version: another one may differ in everything else.
        let version: Version = serde_json::from_slice(json).map_err(malformed)?;
        if version.engine != "ms2m" {
            let engine = super::error::printable(&version.engine);
            return Err(ArchiveError::refuse(Rule::KnownEngine, MANIFEST, format!("its engine is `{engine}`, not `ms2m`")));
        }
        if version.format != Self::FORMAT {
            return Err(refuse(format!(
                "it is of format {}, and this ms2m reads {}: use the same version on both sides",
                version.format,
                Self::FORMAT
            )));
        }
        let manifest: Self = serde_json::from_slice(json).map_err(malformed)?;
        manifest.check().map_err(refuse)?;
        Ok(manifest)
    }

    /// What is wrong with it, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.containers.is_empty() || self.containers.len() > Self::CONTAINERS {
            return Err(format!("it names {} containers; 1 to {} are possible", self.containers.len(), Self::CONTAINERS));
        }
        for (at, container) in self.containers.iter().enumerate() {
            let shown = super::error::printable(&container.name);
            if !plain(&container.name) {
                return Err(format!("the container name `{shown}` is not made of letters, digits, `-`, `_` and `.`"));
            }
            if self.containers[..at].iter().any(|other| other.name == container.name) {
                return Err(format!("the container `{shown}` comes twice"));
            }
            container.check_parents().map_err(|reason| format!("container `{shown}`: {reason}"))?;
        }
        Ok(())
    }
}

impl ContainerManifest {
    fn check_parents(&self) -> Result<(), String> {
        for (at, link) in self.parents.iter().enumerate() {
            let Some(round) = rank(&link.directory) else {
                return Err("an image directory is neither `checkpoint` nor `pre-N`".into());
            };
            // Parents are earlier rounds, so there is no way round in a circle.
            if rank(&link.parent).is_none_or(|parent| parent >= round) {
                return Err(format!("`{}` does not follow an earlier round", link.directory));
            }
            if self.parents[..at].iter().any(|other| other.directory == link.directory) {
                return Err(format!("`{}` has two parents", link.directory));
            }
        }
        Ok(())
    }
}

fn whole() -> Part {
    Part::Final
}

/// The directory of CRIU's images of a part.
#[must_use]
pub fn image_directory(part: Part) -> String {
    match part {
        Part::Round(round) => format!("pre-{round}"),
        Part::Final => "checkpoint".to_owned(),
    }
}

/// The order of image directories: pre-dump rounds by number, the final dump last.
pub(super) fn rank(directory: &str) -> Option<u32> {
    if directory == "checkpoint" {
        return Some(u32::MAX);
    }
    let round = directory.strip_prefix("pre-")?;
    let number: u32 = round.parse().ok()?;
    (number.to_string() == round && number < u32::MAX).then_some(number)
}

fn plain(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str) -> ContainerManifest {
        ContainerManifest { name: name.into(), id: "1".into(), ..Default::default() }
    }

    fn parents(links: &[(&str, &str)]) -> Manifest {
        let links = links.iter().map(|(directory, parent)| ParentLink { directory: (*directory).into(), parent: (*parent).into() });
        Manifest::new(vec![ContainerManifest { parents: links.collect(), ..container("a") }])
    }

    #[test]
    fn what_was_written_is_read() {
        let manifest = parents(&[("checkpoint", "pre-2"), ("pre-2", "pre-1")]);
        assert_eq!(Manifest::parse(&serde_json::to_vec(&manifest).unwrap()).unwrap(), manifest);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let own = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = Manifest::new(vec![container("a")]);
            change(&mut manifest);
            Manifest::parse(&serde_json::to_vec(&manifest).unwrap()).unwrap_err().rule()
        };
        assert_eq!(own(&|manifest| manifest.engine = "other".into()), Some(Rule::KnownEngine));
        assert_eq!(own(&|manifest| manifest.format = 2), Some(Rule::OwnFormat));
        assert_eq!(own(&|manifest| manifest.containers.clear()), Some(Rule::OwnFormat));
        assert_eq!(own(&|manifest| manifest.containers.push(container("a"))), Some(Rule::OwnFormat));
        for name in ["", "..", ".a", "a/b", "a b", "\n"] {
            assert_eq!(own(&|manifest| manifest.containers[0].name = name.into()), Some(Rule::OwnFormat), "{name:?}");
        }
        for links in [[("checkpoint", "../x")], [("pre-1", "pre-1")], [("pre-1", "checkpoint")], [("x", "pre-1")], [("pre-02", "pre-1")]] {
            let json = serde_json::to_vec(&parents(&links)).unwrap();
            assert_eq!(Manifest::parse(&json).unwrap_err().rule(), Some(Rule::OwnFormat), "{links:?}");
        }
        let twice = parents(&[("checkpoint", "pre-1"), ("checkpoint", "pre-2")]);
        assert!(twice.check().is_err());
    }
}
