//! Errors as answers.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ms2m_core::{Error, ErrorKind, Verdict};

use crate::wire::Problem;

/// An error that a client is told: also for routes beside the agent's own.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    retry_after_s: Option<u32>,
    error: Error,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let status = match (error.kind(), error.verdict()) {
            (ErrorKind::NotFound, _) => StatusCode::NOT_FOUND,
            (ErrorKind::AlreadyExists, _) => StatusCode::CONFLICT,
            (ErrorKind::Unauthorized, _) => StatusCode::FORBIDDEN,
            (ErrorKind::Unavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
            (ErrorKind::Corrupt, _) => StatusCode::UNPROCESSABLE_ENTITY,
            (ErrorKind::Timeout, _) => StatusCode::REQUEST_TIMEOUT,
            (ErrorKind::Invalid | ErrorKind::Unsupported, _) => StatusCode::BAD_REQUEST,
            // Of what was announced: it is too large for ever. Of the disk: another time there is room.
            (ErrorKind::LimitExceeded, Verdict::Fatal) => StatusCode::PAYLOAD_TOO_LARGE,
            (ErrorKind::LimitExceeded, _) => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, retry_after_s: None, error }
    }
}

impl Refused {
    /// Too much is going on.
    pub(super) fn busy() -> Self {
        let message = "the agent has as many transfers as it takes at a time; try again later, or raise its limit";
        let error = Error::retry(ErrorKind::Unavailable, message);
        Self { status: StatusCode::TOO_MANY_REQUESTS, retry_after_s: Some(1), error }
    }

    /// Too many are connected.
    pub(super) fn crowded() -> Self {
        let message = "the agent has as many connections as it takes; try again later, or raise its limit";
        Self { retry_after_s: Some(1), ..Error::retry(ErrorKind::Unavailable, message).into() }
    }

    /// It ends.
    pub(super) fn ending() -> Self {
        Self { retry_after_s: Some(2), ..Error::retry(ErrorKind::Unavailable, "the agent is ending; try again when it is back").into() }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Problem::from(&self.error))).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // What follows of the request is not wanted.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}
