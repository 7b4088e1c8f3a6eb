//! What a test may want of its server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The user that a registry with accounts knows.
pub const USER: &str = "ms2m";
/// Its password.
pub const PASSWORD: &str = "checkpoint";
/// The same for `htpasswd`, at bcrypt's lowest cost.
pub(crate) const HTPASSWD: &str = "ms2m:$2y$04$JmFJFQu3J1h/UmdoSxsCG.d96.pvKDhwrwM1aOLbcHRypbZM1JifW\n";

/// How to start. The default speaks plain HTTP, lets everybody in and deletes what it is told to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Certificate and key (PEM files): it speaks TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Only [`USER`] may enter, with [`PASSWORD`].
    pub account: bool,
    /// Deletes nothing, as the registry does unless told otherwise.
    pub no_delete: bool,
    /// Where it listens, instead of a free port of the loopback.
    pub address: Option<SocketAddr>,
}

impl Options {
    /// Its configuration file (YAML, which JSON is).
    pub(crate) fn config(&self, address: SocketAddr, directory: &Path) -> String {
        let file = |path: &Path| format!("{:?}", path.display().to_string());
        let tls = self.tls.as_ref().map_or(String::new(), |(certificate, key)| {
            format!(r#", "tls": {{"certificate": {}, "key": {}}}"#, file(certificate), file(key))
        });
        let account = format!(r#", "auth": {{"htpasswd": {{"realm": "test", "path": {}}}}}"#, file(&directory.join("htpasswd")));
        format!(
            r#"{{"version": "0.1", "log": {{"level": "warn", "accesslog": {{"disabled": true}}}},
"storage": {{"filesystem": {{"rootdirectory": {}}}, "delete": {{"enabled": {}}}}},
"http": {{"addr": "{address}", "secret": "test"{tls}}}{}}}
"#,
            file(&directory.join("data")),
            !self.no_delete,
            if self.account { account } else { String::new() },
        )
    }
}
