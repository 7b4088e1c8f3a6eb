//! [`Policy`]: who gets a certificate, and whose.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::certificates::v1::CertificateSigningRequestSpec;
use rcgen::{CertificateSigningRequestParams, IsCa, PKCS_ECDSA_P256_SHA256, PublicKey, SanType};

use crate::{CONTROLLER, SIGNER};

/// What a certificate may be for.
pub(crate) const USAGES: [&str; 3] = ["client auth", "digital signature", "server auth"];
/// What may be asked for at most; an agent asks for this.
pub(crate) const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// Where the API server writes the node of the pod for which a token was issued.
const NODE: &str = "authentication.kubernetes.io/node-name";

/// Certificates of agents are for this account, each for the node on which its pod runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    account: String,
    lifetime: Duration,
}

/// What may be signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Granted {
    /// The node that the certificate is to name.
    pub node: String,
    /// Whose it is.
    pub key: PublicKey,
    /// How long.
    pub lifetime: Duration,
}

/// Why nothing is signed, as a condition of the request says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// In one word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

fn refuse<T>(reason: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { reason, message: message.into() })
}

impl Policy {
    /// For the ServiceAccount of this name; a certificate is good for so long, or for less if less was asked for.
    #[must_use]
    pub fn new(namespace: &str, account: &str, lifetime: Duration) -> Self {
        Self { account: format!("system:serviceaccount:{namespace}:{account}"), lifetime: lifetime.min(LIFETIME_MAX) }
    }

    /// Decides about a request. Nothing that the asking side has written is believed, except its key, whose other half it has shown to have.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn judge(&self, asked: &CertificateSigningRequestSpec) -> Result<Granted, Refusal> {
        if asked.signer_name != SIGNER {
            return refuse("OtherSigner", format!("this is a request to {}, not to {SIGNER}", asked.signer_name));
        }
        let account = asked.username.as_deref().unwrap_or_default();
        if account != self.account {
            return refuse("NotAnAgent", format!("asked by {account:?}; certificates of agents are for {} only", self.account));
        }
        let nodes = asked.extra.as_ref().and_then(|extra| extra.get(NODE)).map(Vec::as_slice).unwrap_or_default();
        let [node] = nodes else {
            return refuse(
                "NoNode",
                "the token that asks is not of a pod on a node; agents ask with the token of their pod, on Kubernetes 1.32 or newer",
            );
        };
        if node.eq_ignore_ascii_case(CONTROLLER) {
            return refuse(
                "ReservedName",
                format!("a node of the name {CONTROLLER} would be taken for the controller; give it another one"),
            );
        }
        let usages: BTreeSet<_> = asked.usages.iter().flatten().map(String::as_str).collect();
        if usages != BTreeSet::from(USAGES) {
            return refuse("WrongUsages", format!("the usages are {usages:?}; those of agents are {USAGES:?}"));
        }
        let wanted =
            asked.expiration_seconds.map_or(LIFETIME_MAX, |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default()));
        if wanted > LIFETIME_MAX {
            return refuse(
                "TooLong",
                format!("{} s were asked for; agents ask for {} s at most", wanted.as_secs(), LIFETIME_MAX.as_secs()),
            );
        }
        Ok(Granted { node: node.clone(), key: key(&asked.request.0, node)?, lifetime: wanted.min(self.lifetime) })
    }
}

/// The key of the request itself, which must name this node and nothing else.
fn key(pem: &[u8], node: &str) -> Result<PublicKey, Refusal> {
    let text = str::from_utf8(pem).unwrap_or_default();
    let CertificateSigningRequestParams { params, public_key } = match CertificateSigningRequestParams::from_pem(text) {
        Ok(request) => request,
        Err(error) => return refuse("BadRequest", format!("the request cannot be read, or was not signed with its own key: {error}")),
    };
    let names = params.subject_alt_names;
    match names.as_slice() {
        [SanType::DnsName(name)] if name.as_str() == node => {}
        _ => return refuse("WrongNode", format!("the certificate is to name {names:?}; the pod that asks runs on the node {node:?}")),
    }
    if matches!(params.is_ca, IsCa::Ca(_)) {
        return refuse("BadRequest", "an agent is no authority");
    }
    if *rcgen::PublicKeyData::algorithm(&public_key) != PKCS_ECDSA_P256_SHA256 {
        return refuse("WrongKey", "the key of an agent is one for ECDSA with P-256");
    }
    Ok(public_key)
}

#[cfg(test)]
mod tests;
