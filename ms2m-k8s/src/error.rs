//! From what the API server says to what the engine wants to know.

use kube::runtime::watcher;
use ms2m_core::{Error, ErrorKind};

/// Says what was tried; the verdict comes from the server's answer.
pub(crate) fn api(error: kube::Error, tried: &str) -> Error {
    let failed = format!("could not {tried}");
    let told = match &error {
        kube::Error::Api(status) => match status.code {
            401 | 403 => Error::fatal(ErrorKind::Unauthorized, format!("{failed}: its role does not allow that; see the roles in deploy/")),
            404 => Error::fatal(ErrorKind::NotFound, failed),
            409 => Error::retry(ErrorKind::AlreadyExists, failed),
            400 | 405 | 422 => Error::fatal(ErrorKind::Invalid, failed),
            _ => Error::retry(ErrorKind::Unavailable, failed),
        },
        kube::Error::SerdeError(_) => Error::fatal(ErrorKind::Corrupt, failed),
        _ => Error::retry(ErrorKind::Unavailable, format!("{failed}: the API server cannot be reached")),
    };
    match error {
        kube::Error::Api(status) => told.caused_by(status.message.clone()),
        error => told.caused_by(error),
    }
}

pub(crate) fn watch(error: watcher::Error, tried: &str) -> Error {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            api(error, tried)
        }
        watcher::Error::WatchError(status) => api(kube::Error::Api(status), tried),
        error @ watcher::Error::NoResourceVersion => Error::retry(ErrorKind::Unavailable, format!("could not {tried}")).caused_by(error),
    }
}
