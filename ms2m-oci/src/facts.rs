//! What an image says of the checkpoint in it.

use std::collections::BTreeMap;

/// The annotation by which CRI-O knows the image of a checkpoint.
pub(crate) const CRI_O: &str = "io.kubernetes.cri-o.annotations.checkpoint.name";
/// The annotation by which containerd up to 2.3 knows it, on manifest or index.
pub(crate) const CONTAINERD: &str = "org.criu.checkpoint.container.name";
/// Which migration it belongs to.
pub(crate) const MIGRATION: &str = "io.ms2m.migration";

/// Longer values are left out: they come from an archive, and an archive may say anything.
const VALUE_BYTES: usize = 1024;

/// Facts for the image's annotations, as far as they are known. The caller reads them from the archive.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// The container's name. CRI-O and containerd know a checkpoint by it; without one it is called `checkpoint`.
    pub container: String,
    /// The engine that took the checkpoint: `containerd`, `cri-o`, `podman` or `ms2m`.
    pub engine: Option<String>,
    /// The pod's name.
    pub pod: Option<String>,
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// The pod's uid.
    pub pod_uid: Option<String>,
    /// The base image as it was named.
    pub image_name: Option<String>,
    /// The base image as the engine keeps it: `NAME@sha256:…`, or a local id.
    pub image_ref: Option<String>,
    /// The runtime, as the engine names it.
    pub runtime: Option<String>,
    /// CRIU's version.
    pub criu_version: Option<String>,
    /// As in `uname -m`.
    pub architecture: Option<String>,
    /// As in `uname -r`.
    pub kernel: Option<String>,
    /// `1` or `2`.
    pub cgroup_version: Option<String>,
    /// When the checkpoint was taken, as RFC 3339 has it.
    pub taken_at: Option<String>,
    /// The migration, if the image is made for one.
    pub migration: Option<String>,
}

impl Facts {
    /// As annotations, the same on manifest, descriptor and index. What is unprintable or too long is left out.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let container = if fits(&self.container) { self.container.as_str() } else { "checkpoint" };
        let digest = self.image_ref.as_deref().and_then(|reference| reference.split_once('@')).map(|(_, digest)| digest);
        let id = self.image_ref.as_deref().filter(|reference| !reference.contains('@'));
        let named = [
            (CRI_O, Some(container)),
            (CONTAINERD, Some(container)),
            ("org.criu.checkpoint.engine.name", self.engine.as_deref()),
            ("org.criu.checkpoint.pod.name", self.pod.as_deref()),
            ("org.criu.checkpoint.pod.namespace", self.namespace.as_deref()),
            ("org.criu.checkpoint.pod.id", self.pod_uid.as_deref()),
            ("org.criu.checkpoint.rootfsImageName", self.image_name.as_deref()),
            ("org.criu.checkpoint.rootfsImageSha", digest),
            ("org.criu.checkpoint.rootfsImageID", id),
            ("org.criu.checkpoint.runtime.name", self.runtime.as_deref()),
            ("org.criu.checkpoint.criu.version", self.criu_version.as_deref()),
            ("org.criu.checkpoint.host.arch", self.architecture.as_deref()),
            ("org.criu.checkpoint.host.kernel", self.kernel.as_deref()),
            ("org.criu.checkpoint.cgroup.version", self.cgroup_version.as_deref()),
            ("org.opencontainers.image.created", self.taken_at.as_deref()),
            (MIGRATION, self.migration.as_deref()),
        ];
        named
            .into_iter()
            .filter_map(|(name, value)| value.filter(|value| fits(value)).map(|value| (name.to_owned(), value.to_owned())))
            .collect()
    }
}

fn fits(value: &str) -> bool {
    !value.is_empty() && value.len() <= VALUE_BYTES && !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_by_digest_and_a_local_id_go_where_they_belong() {
        let with = |reference: &str| Facts { image_ref: Some(reference.into()), ..Facts::default() }.annotations();
        let by_digest = with("registry/app@sha256:12");
        assert_eq!(by_digest["org.criu.checkpoint.rootfsImageSha"], "sha256:12");
        assert!(!by_digest.contains_key("org.criu.checkpoint.rootfsImageID"));
        assert_eq!(with("abcdef")["org.criu.checkpoint.rootfsImageID"], "abcdef");
    }

    #[test]
    fn what_a_stranger_says_is_bounded() {
        let hostile = Facts {
            container: "\u{1b}[2J".into(),
            pod: Some("x".repeat(VALUE_BYTES + 1)),
            namespace: Some(String::new()),
            kernel: Some("6.1\n".into()),
            ..Facts::default()
        };
        let annotations = hostile.annotations();
        assert_eq!(annotations.keys().collect::<Vec<_>>(), [CRI_O, CONTAINERD]);
        assert_eq!(annotations[CRI_O], "checkpoint");
    }
}
