//! Keys and certificates of a cluster, and the kubeconfigs that name them.

use std::fs;
use std::io;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::json;
use time::{Duration, OffsetDateTime};

/// Writes `ca.crt`, a pair for the server, for the admin and for each node, kubeconfigs of the latter, and the keys of service accounts.
pub(crate) fn write(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let authority = authority()?;
    fs::write(directory.join("ca.crt"), authority.pem())?;
    // By itself, as the tools of containers want it.
    fs::create_dir(directory.join("registry"))?;
    fs::write(directory.join("registry/ca.crt"), authority.pem())?;
    let accounts = KeyPair::generate().map_err(io::Error::other)?;
    fs::write(directory.join("accounts.key"), accounts.serialize_pem())?;
    fs::write(directory.join("accounts.pub"), accounts.public_key_pem())?;
    let server = ["10.77.0.1", "127.0.0.1", "10.96.0.1", "kubernetes", "control"];
    issue(&authority, directory, "server", "kube-apiserver", None, &server)?;
    issue(&authority, directory, "admin", "admin", Some("system:masters"), &["admin"])?;
    kubeconfig(directory, "admin")?;
    for (node, address) in [("n1", "10.77.0.11"), ("n2", "10.77.0.12")] {
        issue(&authority, directory, node, &format!("system:node:{node}"), Some("system:nodes"), &[node, address])?;
        kubeconfig(directory, node)?;
    }
    Ok(())
}

fn authority() -> io::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "ms2m test cluster");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validate(&mut params);
    CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(io::Error::other)?).map_err(io::Error::other)
}

/// `NAME.crt` and `NAME.key`, for a client and server of these names.
fn issue(
    authority: &CertifiedIssuer<'static, KeyPair>,
    directory: &Path,
    name: &str,
    common: &str,
    group: Option<&str>,
    names: &[&str],
) -> io::Result<()> {
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, common);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    validate(&mut params);
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let certificate = params.signed_by(&key, authority).map_err(io::Error::other)?;
    fs::write(directory.join(format!("{name}.crt")), certificate.pem())?;
    fs::write(directory.join(format!("{name}.key")), key.serialize_pem())
}

fn validate(params: &mut CertificateParams) {
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::hours(1), now + Duration::days(1));
}

/// JSON, which YAML is. The files that it names lie beside it.
fn kubeconfig(directory: &Path, user: &str) -> io::Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "cluster",
        "clusters": [{"name": "cluster", "cluster": {"server": "https://10.77.0.1:6443", "certificate-authority": "ca.crt"}}],
        "users": [{"name": user, "user": {"client-certificate": format!("{user}.crt"), "client-key": format!("{user}.key")}}],
        "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": user}}],
    });
    fs::write(directory.join(format!("{user}.kubeconfig")), config.to_string())
}
