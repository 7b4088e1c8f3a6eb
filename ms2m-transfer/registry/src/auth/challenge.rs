//! What a registry wants to see.

use http_auth::ChallengeParser;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use url::Url;

use crate::fault::Fault;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token of the server at `realm`.
    Bearer { realm: Url, service: Option<String>, scope: Option<String> },
}

/// The first one for a token, else the first for user and password.
pub(super) fn strongest(headers: &HeaderMap) -> Result<Challenge, Fault> {
    let mut basic = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        for challenge in ChallengeParser::new(value.to_str().unwrap_or_default()) {
            let Ok(challenge) = challenge else { break };
            let parameter = |wanted: &str| {
                let found = challenge.params.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                found.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let realm = parameter("realm").and_then(|realm| Url::parse(&realm).ok());
                let realm = realm.ok_or_else(|| Fault::Absurd("it wants a token and does not say from where".into()))?;
                return Ok(Challenge::Bearer { realm, service: parameter("service"), scope: parameter("scope") });
            }
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic.ok_or_else(|| Fault::Login("it wants credentials of a kind that is not known here".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> Result<Challenge, Fault> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        strongest(&headers)
    }

    #[test]
    fn a_token_is_preferred() {
        let bearer = r#"Bearer realm="https://auth.example/token?x=1",service="registry",scope="repository:a/b:pull,push""#;
        let expected = Challenge::Bearer {
            realm: Url::parse("https://auth.example/token?x=1").unwrap(),
            service: Some("registry".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        assert_eq!(of(&[bearer]).unwrap(), expected);
        assert_eq!(of(&[r#"Basic realm="x""#, bearer]).unwrap(), expected);
        assert_eq!(of(&[r#"basic realm="x""#]).unwrap(), Challenge::Basic);
        assert!(matches!(of(&[]), Err(Fault::Login(_))));
        assert!(matches!(of(&["Negotiate"]), Err(Fault::Login(_))));
        assert!(matches!(of(&[r#"Bearer service="x""#]), Err(Fault::Absurd(_))));
    }
}
