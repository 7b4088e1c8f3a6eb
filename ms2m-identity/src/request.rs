//! One request for a certificate, from its key to the answer.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt as _};
use ms2m_core::{Error, ErrorKind, Result};
use rcgen::{CertificateParams, KeyPair};
use tokio::time::{Instant, sleep};

use crate::SIGNER;
use crate::api::cannot;
use crate::authority::{Signed, unmade};
use crate::policy::{LIFETIME_MAX, USAGES};

/// Of the names of requests; the API server adds to it.
const PREFIX: &str = "ms2m-agent-";
/// For the answer.
const WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(500);
const END: &str = "-----END CERTIFICATE-----";

/// Asks for a certificate of this node, with a new key; the certificate and the key.
pub(crate) async fn request(client: &Client, node: &str) -> Result<(Signed, String)> {
    let key = KeyPair::generate().map_err(unmade)?;
    let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
    let asked = requests.create(&PostParams::default(), &asked(node, &key)?).await;
    let name = asked.map_err(|error| cannot(error, "ask for a certificate"))?.name_any();
    let begun = Instant::now();
    loop {
        sleep(LOOK).await;
        let looked =
            requests.get(&name).await.map_err(|error| cannot(error, "look at the request for a certificate").with("request", &name));
        match looked.and_then(|request| answer(&request)) {
            Ok(Some(signed)) => return Ok((signed, key.serialize_pem())),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::Unavailable => tracing::debug!(%error, "looking again"),
            Err(error) => return Err(error.with("request", name)),
        }
        if begun.elapsed() > WITHIN {
            let message = "nobody has answered the request for a certificate; does the controller run, and with --issue-certificates?";
            return Err(Error::retry(ErrorKind::Timeout, message).with("request", name).with("waited_s", WITHIN.as_secs()));
        }
    }
}

fn asked(node: &str, key: &KeyPair) -> Result<CertificateSigningRequest> {
    let impossible = |error: rcgen::Error| {
        Error::fatal(ErrorKind::Invalid, "the node's name cannot stand in a certificate").with("node", node).caused_by(error)
    };
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::DnsName(node.try_into().map_err(impossible)?)];
    params.distinguished_name = rcgen::DistinguishedName::new();
    let pem = params.serialize_request(key).and_then(|request| request.pem()).map_err(impossible)?;
    Ok(CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some(PREFIX.to_owned()), ..Default::default() },
        spec: CertificateSigningRequestSpec {
            signer_name: SIGNER.to_owned(),
            usages: Some(USAGES.map(str::to_owned).to_vec()),
            expiration_seconds: i32::try_from(LIFETIME_MAX.as_secs()).ok(),
            request: ByteString(pem.into_bytes()),
            ..Default::default()
        },
        status: None,
    })
}

/// The certificate, once it is there.
fn answer(request: &CertificateSigningRequest) -> Result<Option<Signed>> {
    let Some(status) = &request.status else { return Ok(None) };
    let refused =
        |one: &&k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition| matches!(one.type_.as_str(), "Denied" | "Failed");
    if let Some(condition) = status.conditions.iter().flatten().find(refused) {
        let message = format!("the certificate is refused: {}", condition.message.as_deref().unwrap_or("without a word why"));
        let reason = condition.reason.as_deref().unwrap_or_default();
        return Err(Error::fatal(ErrorKind::Unauthorized, message).with("reason", reason));
    }
    let Some(chain) = &status.certificate else { return Ok(None) };
    let chain = String::from_utf8_lossy(&chain.0);
    // The certificate, and behind it whom to believe.
    let (certificate, authority) = chain.split_once(END).unwrap_or_default();
    if !authority.contains(END) {
        let message = "the certificate came without its authority; only the controller of the same release may sign for this signer";
        return Err(Error::fatal(ErrorKind::Corrupt, message).with("signer", SIGNER));
    }
    Ok(Some(Signed { certificate: format!("{certificate}{END}\n"), authority: authority.trim_start().to_owned() }))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::certificates::v1::{CertificateSigningRequestCondition, CertificateSigningRequestStatus};

    use super::*;
    use crate::Authority;

    fn answered(status: CertificateSigningRequestStatus) -> Result<Option<Signed>> {
        answer(&CertificateSigningRequest { status: Some(status), ..Default::default() })
    }

    #[test]
    fn what_was_signed_comes_apart_again() {
        let signed = Authority::new().unwrap().sign("n1", &KeyPair::generate().unwrap(), WITHIN).unwrap();
        let chain = Some(ByteString(format!("{}{}", signed.certificate, signed.authority).into_bytes()));
        let found = answered(CertificateSigningRequestStatus { certificate: chain, ..Default::default() }).unwrap().unwrap();
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&found.certificate), lines(&signed.certificate));
        assert_eq!(lines(&found.authority), lines(&signed.authority));
        let alone = Some(ByteString(signed.certificate.into_bytes()));
        let error = answered(CertificateSigningRequestStatus { certificate: alone, ..Default::default() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_refusal_says_why() {
        let condition = CertificateSigningRequestCondition {
            type_: "Denied".into(),
            reason: Some("WrongNode".into()),
            message: Some("it runs on n2".into()),
            ..Default::default()
        };
        let error = answered(CertificateSigningRequestStatus { conditions: Some(vec![condition]), ..Default::default() }).unwrap_err();
        assert!(error.to_string().contains("it runs on n2") && error.to_string().contains("WrongNode"), "{error}");
        assert_eq!(answered(CertificateSigningRequestStatus::default()).unwrap(), None);
    }
}
