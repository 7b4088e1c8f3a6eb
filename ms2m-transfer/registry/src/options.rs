//! How a registry is used.

use std::collections::BTreeMap;

use crate::auth::Credentials;

/// Layers that are plain tar archives, as runtimes unpack them.
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// How a registry is used. The default is what `docker push` would do: TLS, the system's certificates, the user's login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegistryOptions {
    /// Who asks.
    pub credentials: Credentials,
    /// Certificates (PEM) of authorities that are trusted besides the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Speaks HTTP without TLS. Whoever is on the way then reads the checkpoint, and the password.
    pub plain_http: bool,
    /// Annotations of every manifest, for example those by which a runtime recognises a checkpoint.
    pub annotations: BTreeMap<String, String>,
    /// Media type of the layer. Other than `application/vnd.oci.image.layer.v1.tar` when parts are no plain tar archives (compressed or
    /// encrypted ones).
    pub layer_media_type: String,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::DockerConfig,
            ca_pem: None,
            plain_http: false,
            annotations: BTreeMap::new(),
            layer_media_type: TAR.into(),
        }
    }
}
