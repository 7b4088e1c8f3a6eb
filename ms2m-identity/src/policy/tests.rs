use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use rcgen::{BasicConstraints, CertificateParams, KeyPair};

use super::*;

const ACCOUNT: &str = "system:serviceaccount:ms2m-system:ms2m-agent";

fn policy() -> Policy {
    Policy::new("ms2m-system", "ms2m-agent", Duration::from_secs(3600))
}

fn pem(params: &CertificateParams) -> ByteString {
    ByteString(params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap().into_bytes())
}

fn names(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap()
}

/// What an agent on the node n1 asks, as the API server keeps it.
fn good() -> CertificateSigningRequestSpec {
    CertificateSigningRequestSpec {
        signer_name: SIGNER.into(),
        username: Some(ACCOUNT.into()),
        extra: Some(BTreeMap::from([(NODE.to_owned(), vec!["n1".to_owned()])])),
        usages: Some(USAGES.map(str::to_owned).to_vec()),
        expiration_seconds: Some(24 * 3600),
        request: pem(&names(&["n1"])),
        ..Default::default()
    }
}

#[test]
fn an_agent_gets_a_certificate_of_its_node_for_no_longer_than_it_may_have() {
    let granted = policy().judge(&good()).unwrap();
    assert_eq!((granted.node.as_str(), granted.lifetime), ("n1", Duration::from_secs(3600)));
    let shorter = CertificateSigningRequestSpec { expiration_seconds: Some(600), ..good() };
    assert_eq!(policy().judge(&shorter).unwrap().lifetime, Duration::from_secs(600));
    let unsaid = CertificateSigningRequestSpec { expiration_seconds: None, ..good() };
    assert_eq!(policy().judge(&unsaid).unwrap().lifetime, Duration::from_secs(3600));
    // A controller that was told more does not give more than anybody may have.
    assert_eq!(Policy::new("a", "b", Duration::from_secs(1 << 40)).lifetime, LIFETIME_MAX);
}

#[test]
fn each_wrong_request_is_refused_with_its_reason() {
    let node = |nodes: &[&str]| {
        let nodes = nodes.iter().map(|&node| node.to_owned()).collect();
        CertificateSigningRequestSpec { extra: Some(BTreeMap::from([(NODE.to_owned(), nodes)])), ..good() }
    };
    let request = |params: CertificateParams| CertificateSigningRequestSpec { request: pem(&params), ..good() };
    let usages = |usages: &[&str]| {
        let usages = Some(usages.iter().map(|&usage| usage.to_owned()).collect());
        CertificateSigningRequestSpec { usages, ..good() }
    };
    let mut authority = names(&["n1"]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut uri = names(&["n1"]);
    uri.subject_alt_names.push(SanType::URI("spiffe://n2".try_into().unwrap()));
    let other_key = names(&["n1"]).serialize_request(&KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()).unwrap().pem().unwrap();
    let mut broken = good();
    let at = broken.request.0.len() / 2;
    broken.request.0[at] = if broken.request.0[at] == b'A' { b'B' } else { b'A' };

    let wrong = [
        (CertificateSigningRequestSpec { signer_name: "kubernetes.io/kubelet-serving".into(), ..good() }, "OtherSigner"),
        (CertificateSigningRequestSpec { username: None, ..good() }, "NotAnAgent"),
        (CertificateSigningRequestSpec { username: Some("system:serviceaccount:default:ms2m-agent".into()), ..good() }, "NotAnAgent"),
        (CertificateSigningRequestSpec { username: Some("system:serviceaccount:ms2m-system:ms2m-agent2".into()), ..good() }, "NotAnAgent"),
        (CertificateSigningRequestSpec { extra: None, ..good() }, "NoNode"),
        (node(&[]), "NoNode"),
        (node(&["n1", "n2"]), "NoNode"),
        (node(&["n2"]), "WrongNode"),
        (node(&["MS2M-Controller"]), "ReservedName"),
        (request(names(&["n2"])), "WrongNode"),
        (request(names(&["n1", "n2"])), "WrongNode"),
        (request(names(&["n1", "ms2m-controller"])), "WrongNode"),
        (request(names(&["10.0.0.1"])), "WrongNode"),
        (request(names(&[])), "WrongNode"),
        (request(uri), "WrongNode"),
        (request(authority), "BadRequest"),
        (CertificateSigningRequestSpec { request: ByteString(Vec::new()), ..good() }, "BadRequest"),
        (CertificateSigningRequestSpec { request: ByteString(vec![0xff; 100]), ..good() }, "BadRequest"),
        (broken, "BadRequest"),
        (CertificateSigningRequestSpec { request: ByteString(other_key.into_bytes()), ..good() }, "WrongKey"),
        (CertificateSigningRequestSpec { usages: None, ..good() }, "WrongUsages"),
        (usages(&["client auth", "digital signature"]), "WrongUsages"),
        (usages(&["client auth", "digital signature", "server auth", "cert sign"]), "WrongUsages"),
        (CertificateSigningRequestSpec { expiration_seconds: Some(24 * 3600 + 1), ..good() }, "TooLong"),
    ];
    for (asked, reason) in wrong {
        let refusal = policy().judge(&asked).expect_err(reason);
        println!("{}: {}", refusal.reason, refusal.message);
        assert_eq!(refusal.reason, reason, "{}", refusal.message);
    }
}
