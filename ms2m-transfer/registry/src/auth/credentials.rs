//! Where credentials come from.

use std::fmt;
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use tokio::time::timeout;

use crate::fault::Fault;

/// A helper may ask a keyring, hardly a person.
const HELPER: Duration = Duration::from_secs(20);

/// Who asks.
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Credentials {
    /// Nobody in particular.
    Anonymous,
    /// The user, as `docker login` left it: `config.json` in `$DOCKER_CONFIG` or `~/.docker`, with its credential helpers. Without any for
    /// this registry: nobody in particular.
    #[default]
    DockerConfig,
    /// What is in a Secret of the type `kubernetes.io/dockerconfigjson`, or in any `config.json`. Without any for this registry: nobody in
    /// particular.
    DockerConfigJson(Vec<u8>),
    /// This user.
    Password {
        /// Its name.
        user: String,
        /// Its password, or an access token in its place.
        password: String,
    },
}

impl fmt::Debug for Credentials {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::DockerConfig => "DockerConfig",
            Self::DockerConfigJson(_) => "DockerConfigJson(…)",
            Self::Password { .. } => "Password { … }",
        })
    }
}

impl Credentials {
    /// Those for a registry. A helper may be asked, so this takes its time.
    pub(super) async fn find(&self, registry: &str) -> Result<Option<DockerCredential>, Fault> {
        // Docker Hub is in these files under the name that it had first.
        let server = if registry == "index.docker.io" { "https://index.docker.io/v1/" } else { registry }.to_owned();
        let found = match self {
            Self::Anonymous => return Ok(None),
            Self::Password { user, password } => {
                return Ok(Some(DockerCredential::UsernamePassword(user.clone(), password.clone())));
            }
            Self::DockerConfigJson(json) => docker_credential::get_credential_from_reader(json.as_slice(), &server),
            Self::DockerConfig => {
                let asking = tokio::task::spawn_blocking(move || docker_credential::get_credential(&server));
                let asked =
                    timeout(HELPER, asking).await.map_err(|_| Fault::Login("the credential helper of docker does not answer".into()))?;
                asked.map_err(|error| Fault::Login(error.to_string()))?
            }
        };
        match found {
            Ok(credential) => Ok(Some(credential)),
            Err(CredentialRetrievalError::NoCredentialConfigured | CredentialRetrievalError::ConfigNotFound) => Ok(None),
            // Its output may hold more than it should.
            Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
                Err(Fault::Login(format!("the credential helper {helper} fails")))
            }
            Err(error) => Err(Fault::Login(format!("docker's config.json: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn find(json: &str, registry: &str) -> Result<Option<DockerCredential>, Fault> {
        Credentials::DockerConfigJson(json.as_bytes().to_vec()).find(registry).await
    }

    #[tokio::test]
    async fn a_secret_is_read() {
        // user:pass:word
        let json = r#"{"auths": {"registry.example:5000": {"auth": "dXNlcjpwYXNzOndvcmQ="}, "https://index.docker.io/v1/": {"username": "hub", "password": "x"},
            "other.example": {"identitytoken": "t"}}}"#;
        let password = |user: &str, password: &str| Some(DockerCredential::UsernamePassword(user.into(), password.into()));
        assert_eq!(find(json, "registry.example:5000").await.unwrap(), password("user", "pass:word"));
        assert_eq!(find(json, "index.docker.io").await.unwrap(), password("hub", "x"));
        assert_eq!(find(json, "other.example").await.unwrap(), Some(DockerCredential::IdentityToken("t".into())));
        assert_eq!(find(json, "unknown.example").await.unwrap(), None);
        assert!(matches!(find("no json", "x.example").await, Err(Fault::Login(_))));
    }

    #[test]
    fn secrets_are_not_printed() {
        for credentials in
            [Credentials::DockerConfigJson(b"geheim".to_vec()), Credentials::Password { user: "geheim".into(), password: "geheim".into() }]
        {
            let text = format!("{credentials:?}");
            assert!(!text.contains("geheim") && !text.contains("103"), "{text}");
        }
    }
}
