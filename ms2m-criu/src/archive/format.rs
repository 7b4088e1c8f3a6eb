//! Whose archive it is, and the facts that its documents tell.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{ArchiveError, Result, Rule, printable};

/// Who wrote an archive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// The kubelet with containerd.
    Containerd,
    /// The kubelet with CRI-O.
    #[serde(rename = "cri-o")]
    CriO,
    /// podman.
    Podman,
    /// ms2m.
    Ms2m,
}

impl Engine {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
            Self::Ms2m => "ms2m",
        }
    }
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What lies at the top of an engine's archive. Other members are left out when it is extracted.
const KNOWN: [&str; 18] = [
    "artifacts",
    "bind.mounts",
    "checkpoint",
    "config.dump",
    "container.log",
    "ctr.log",
    "deleted.files",
    "devshm-checkpoint.tar",
    "dump.log",
    "io.kubernetes.cri-o.LogPath",
    "network.status",
    "pre-checkpoint",
    "rootfs-diff.tar",
    "spec.dump",
    "stats-dump",
    "status",
    "status.dump",
    "volumes",
];

pub(super) fn is_known(member: &str) -> bool {
    let top = member.split_once('/').map_or(member, |(top, _)| top);
    KNOWN.contains(&top)
}

/// What `config.dump` and `spec.dump` tell, to be shown and compared.
///
/// Nothing is ever created from it: annotations, mounts and devices of an archive are words of a stranger.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The container's id at the source.
    pub id: String,
    /// The container's name.
    pub name: String,
    /// The image as it was named.
    pub image: Option<String>,
    /// The image as the engine keeps it: a digest reference (containerd) or a local id (CRI-O, podman).
    pub image_ref: Option<String>,
    /// The runtime as the engine names it.
    pub runtime: Option<String>,
    /// When the container was created.
    pub created: Option<String>,
    /// When the checkpoint was taken. podman does not say.
    pub checkpointed: Option<String>,
    /// Whether the container had been restored from a checkpoint before.
    pub restored: bool,
    /// Annotations of the specification.
    pub annotations: BTreeMap<String, String>,
    /// The command line.
    pub args: Vec<String>,
    /// The environment, `NAME=value`. Full of secrets: mask before showing.
    pub env: Vec<String>,
    /// The working directory.
    pub cwd: Option<String>,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// The host name of the specification.
    pub hostname: Option<String>,
    /// Mounts of the specification.
    pub mounts: Vec<SpecMount>,
}

/// A mount of the specification.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SpecMount {
    /// Where in the container.
    pub destination: String,
    /// Its type.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Where from, on the source's node.
    #[serde(default)]
    pub source: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    id: String,
    name: String,
    rootfs_image: Option<String>,
    rootfs_image_name: Option<String>,
    rootfs_image_ref: Option<String>,
    #[serde(rename = "rootfsImageID")]
    rootfs_image_id: Option<String>,
    runtime: Option<String>,
    created_time: Option<String>,
    checkpointed_time: Option<String>,
    restored: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    process: Process,
    hostname: Option<String>,
    mounts: Vec<SpecMount>,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Process {
    terminal: bool,
    args: Vec<String>,
    env: Vec<String>,
    cwd: Option<String>,
}

/// Go writes this for "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Whose archive it is, by its `config.dump` and `spec.dump`.
///
/// # Errors
/// [`Rule::KnownEngine`] when one is missing, malformed, or names a manager that is not known.
pub fn detect(config: Option<&[u8]>, spec: Option<&[u8]>) -> Result<(Engine, Facts)> {
    fn parse<T: for<'a> Deserialize<'a>>(name: &str, json: Option<&[u8]>) -> Result<T> {
        let json =
            json.ok_or_else(|| ArchiveError::refuse(Rule::KnownEngine, "", format!("it has no {name}, as archives of engines do")))?;
        serde_json::from_slice(json).map_err(|error| ArchiveError::refuse(Rule::KnownEngine, name, format!("it is malformed: {error}")))
    }
    let mut spec: Spec = parse("spec.dump", spec)?;
    let config: Config = parse("config.dump", config)?;
    let engine = match spec.annotations.get("io.container.manager").map(String::as_str) {
        None => Engine::Containerd,
        Some("cri-o") => Engine::CriO,
        Some("libpod") => Engine::Podman,
        Some(other) => {
            let reason = format!("its manager is `{}`, which is not known", printable(other));
            return Err(ArchiveError::refuse(Rule::KnownEngine, "spec.dump", reason));
        }
    };
    let time = |time: Option<String>| time.filter(|time| time != NEVER && !time.is_empty());
    let facts = Facts {
        id: config.id,
        name: config.name,
        image: config.rootfs_image_name.or(config.rootfs_image),
        image_ref: config.rootfs_image_ref.or(config.rootfs_image_id),
        runtime: config.runtime,
        created: time(config.created_time),
        checkpointed: time(config.checkpointed_time),
        restored: config.restored,
        annotations: std::mem::take(&mut spec.annotations),
        args: spec.process.args,
        env: spec.process.env,
        cwd: spec.process.cwd,
        terminal: spec.process.terminal,
        hostname: spec.hostname,
        mounts: spec.mounts,
    };
    Ok((engine, facts))
}

/// What `containers/NAME/spec.json` of our own archives tells.
///
/// # Errors
/// [`Rule::OwnFormat`] when it is malformed.
pub(crate) fn own_facts(name: &str, id: &str, image: Option<&str>, spec: &[u8]) -> Result<Facts> {
    let spec: Spec = serde_json::from_slice(spec)
        .map_err(|error| ArchiveError::refuse(Rule::OwnFormat, "spec.json", format!("it is malformed: {error}")))?;
    Ok(Facts {
        id: id.into(),
        name: name.into(),
        image: image.map(Into::into),
        image_ref: image.map(Into::into),
        annotations: spec.annotations,
        args: spec.process.args,
        env: spec.process.env,
        cwd: spec.process.cwd,
        terminal: spec.process.terminal,
        hostname: spec.hostname,
        mounts: spec.mounts,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(spec: &str) -> Result<Engine> {
        detect(Some(b"{}"), Some(spec.as_bytes())).map(|(engine, _)| engine)
    }

    #[test]
    fn the_manager_decides() {
        assert_eq!(engine("{}").unwrap(), Engine::Containerd);
        assert_eq!(engine(r#"{"annotations":{"io.container.manager":"cri-o"}}"#).unwrap(), Engine::CriO);
        assert_eq!(engine(r#"{"annotations":{"io.container.manager":"libpod"}}"#).unwrap(), Engine::Podman);
    }

    #[test]
    fn whoever_is_not_known_is_refused() {
        for spec in [r#"{"annotations":{"io.container.manager":"other\u0000"}}"#, "3", "", "{\"process\":3}"] {
            assert_eq!(engine(spec).unwrap_err().rule(), Some(Rule::KnownEngine), "{spec}");
        }
        assert_eq!(detect(None, Some(b"{}")).unwrap_err().rule(), Some(Rule::KnownEngine));
        assert_eq!(detect(Some(b"{}"), None).unwrap_err().rule(), Some(Rule::KnownEngine));
    }
}
