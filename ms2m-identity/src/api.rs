//! What the API server refuses, in our terms.

use ms2m_core::{Error, ErrorKind};

/// Says what was tried.
pub(crate) fn cannot(error: kube::Error, what: &str) -> Error {
    let failed = format!("could not {what}");
    let told = match &error {
        kube::Error::Api(status) => match status.code {
            401 | 403 => Error::fatal(ErrorKind::Unauthorized, format!("{failed}: its role does not allow that; see the roles in deploy/")),
            404 => Error::fatal(ErrorKind::NotFound, failed),
            409 => Error::retry(ErrorKind::AlreadyExists, failed),
            400 | 405 | 422 => Error::fatal(ErrorKind::Invalid, failed),
            _ => Error::retry(ErrorKind::Unavailable, failed),
        },
        _ => Error::retry(ErrorKind::Unavailable, format!("{failed}: the API server cannot be reached")),
    };
    match error {
        kube::Error::Api(status) => told.caused_by(status.message.clone()),
        error => told.caused_by(error),
    }
}
