//! [`AuthorityStore`]: the authority, where all controllers find it.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use ms2m_core::{Error, ErrorKind, Result};
use serde_json::json;

use crate::api::cannot;
use crate::{AUTHORITY, Authority, CONTROLLER};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// The Secret `ms2m-authority` of a namespace, with `tls.crt` and `tls.key`, and the ConfigMap of the same name, with `ca.crt`.
#[derive(Clone)]
pub struct AuthorityStore {
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
    namespace: String,
}

impl fmt::Debug for AuthorityStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityStore").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl AuthorityStore {
    /// In this namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        let secrets = Api::namespaced(client.clone(), namespace);
        Self { secrets, config_maps: Api::namespaced(client, namespace), namespace: namespace.to_owned() }
    }

    /// The authority, which is made when there is none: the Secret is filled when it is empty, and made when it is missing, as far as the role allows that. Of
    /// several that try at once, one makes it.
    ///
    /// # Errors
    /// When the API server refuses or cannot be reached; `Corrupt` when the Secret holds something, but no authority.
    pub async fn authority(&self) -> Result<Authority> {
        let found = self.read().await?;
        if let Some(known) = found.as_ref().map(known).transpose()?.flatten() {
            return Ok(known);
        }
        let made = Authority::new()?;
        let written = match &found {
            Some(empty) => {
                let patch = Patch::Merge(json!({ "metadata": { "resourceVersion": empty.resource_version() }, "data": data(&made) }));
                self.secrets.patch(AUTHORITY, &PatchParams::default(), &patch).await
            }
            None => {
                let metadata = ObjectMeta { name: Some(AUTHORITY.to_owned()), ..Default::default() };
                let secret = Secret { metadata, data: Some(data(&made)), ..Default::default() };
                self.secrets.create(&PostParams::default(), &secret).await
            }
        };
        match written {
            Ok(_) => {
                tracing::info!(namespace = self.namespace, secret = AUTHORITY, "made an authority for certificates");
                Ok(made)
            }
            // Another one was faster: that one counts.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.read().await?.as_ref().map(known).transpose()?.flatten().ok_or_else(|| {
                    let message = "the Secret of the authority changes all the time; try again";
                    Error::retry(ErrorKind::Unavailable, message).with("secret", AUTHORITY)
                })
            }
            Err(error) => Err(cannot(error, "write the Secret of the authority").with("namespace", &self.namespace)),
        }
    }

    async fn read(&self) -> Result<Option<Secret>> {
        let read = self.secrets.get_opt(AUTHORITY).await;
        read.map_err(|error| cannot(error, "read the Secret of the authority").with("namespace", &self.namespace))
    }

    /// Writes the authority's certificate where everybody who may read ConfigMaps there finds it.
    ///
    /// # Errors
    /// When the API server refuses or cannot be reached.
    pub async fn publish(&self, authority: &Authority) -> Result<()> {
        let wanted = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": AUTHORITY },
            "data": { "ca.crt": authority.certificate() },
        });
        let applied = self.config_maps.patch(AUTHORITY, &PatchParams::apply(CONTROLLER).force(), &Patch::Apply(wanted)).await;
        applied.map(drop).map_err(|error| cannot(error, "publish the authority's certificate").with("namespace", &self.namespace))
    }
}

/// `None` when the Secret is empty.
fn known(secret: &Secret) -> Result<Option<Authority>> {
    let Some(data) = secret.data.as_ref().filter(|data| !data.is_empty()) else { return Ok(None) };
    let text = |name| data.get(name).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default();
    Authority::from_pem(&text(CERTIFICATE), &text(KEY)).map(Some).map_err(|error| error.with("secret", AUTHORITY))
}

fn data(authority: &Authority) -> BTreeMap<String, ByteString> {
    let texts = [(CERTIFICATE, authority.certificate()), (KEY, authority.key())];
    texts.map(|(name, text)| (name.to_owned(), ByteString(text.as_bytes().to_vec()))).into()
}
