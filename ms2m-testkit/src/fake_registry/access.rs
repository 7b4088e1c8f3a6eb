//! Who may do what.

use std::collections::HashMap;

/// Who may do what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Access {
    /// Everybody everything.
    #[default]
    Everybody,
    /// One user, by password with each request.
    Basic {
        /// Its name.
        user: String,
        /// Its password.
        password: String,
    },
    /// One user, by tokens that name repository and actions, from a token server at the same address. Without credentials no token is given.
    Token {
        /// Its name.
        user: String,
        /// Its password.
        password: String,
    },
}

/// Tokens given, with their scopes and the requests they have served.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    given: HashMap<String, (String, u32)>,
}

impl Tokens {
    pub(super) fn give(&mut self, scope: &str) -> String {
        let token = format!("token-{}", self.given.len());
        self.given.insert(token.clone(), (scope.to_owned(), 0));
        token
    }

    /// Whether a token is good for an action on a repository; counts the request.
    pub(super) fn allows(&mut self, token: &str, repository: &str, action: &str, requests_max: Option<u32>) -> bool {
        let Some((scope, requests)) = self.given.get_mut(token) else { return false };
        let allowed = scope.strip_prefix("repository:").and_then(|rest| rest.strip_prefix(repository)?.strip_prefix(':'));
        *requests += 1;
        allowed.is_some_and(|actions| actions.split(',').any(|allowed| allowed == action))
            && requests_max.is_none_or(|max| *requests <= max)
    }
}
