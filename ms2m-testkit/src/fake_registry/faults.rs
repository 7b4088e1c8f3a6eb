//! What goes wrong.

use std::time::Duration;

/// Kinds of requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Any but those for tokens.
    Any,
    /// `POST` of an upload.
    Begin,
    /// `PATCH`.
    Patch,
    /// `GET` of an upload.
    Status,
    /// `PUT` of an upload.
    Finish,
    /// `PUT` of a manifest.
    Publish,
    /// `GET` and `HEAD` of a blob.
    Blob,
    /// `GET` and `HEAD` of a manifest.
    Manifest,
    /// `DELETE` of a manifest or blob.
    Delete,
    /// A token.
    Token,
}

/// Requests of one kind are refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Which ones.
    pub request: Request,
    /// How often; then they are answered as they should.
    pub times: u32,
    /// The answer.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// Refuses for ever.
    #[must_use]
    pub fn always(request: Request, status: u16) -> Self {
        Self { request, times: u32::MAX, status, retry_after: None }
    }

    /// Refuses so many times.
    #[must_use]
    pub fn times(request: Request, status: u16, times: u32) -> Self {
        Self { times, ..Self::always(request, status) }
    }
}

/// Where the registry does not tell the truth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// A blob that was taken is named by another digest.
    Blob,
    /// The same of a manifest.
    Manifest,
    /// Blobs are sent with one bit changed.
    Sent,
    /// A status names more bytes than have come.
    Status,
}

/// What goes wrong. [`Faults::default`] is a good registry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Requests that are refused.
    pub refusal: Option<Refusal>,
    /// Never mounts, but begins an upload.
    pub no_mount: bool,
    /// Larger request bodies are answered by 413.
    pub request_bytes_max: Option<u64>,
    /// A token is good for so many requests.
    pub token_requests: Option<u32>,
    /// Is not true.
    pub lie: Option<Lie>,
    /// Each answer comes so much later.
    pub delay: Duration,
    /// Takes a request of this kind and never answers.
    pub silent: Option<Request>,
    /// Knows no ranges.
    pub no_ranges: bool,
    /// Deletes nothing (405).
    pub no_delete: bool,
    /// An upload whose request broke off is lost, as with Docker's registry.
    pub forgetful: bool,
    /// A blob that is sent breaks off after so many bytes, each time.
    pub cut_blob_bytes: Option<usize>,
    /// Tags in one answer; more are on further pages.
    pub page_tags: Option<usize>,
}

impl Faults {
    /// Refuses something and is good otherwise.
    #[must_use]
    pub fn refuse(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::default() }
    }

    /// The status to refuse a request with.
    pub(super) fn refuses(&mut self, request: Request) -> Option<(u16, Option<u64>)> {
        let refusal = self.refusal.as_mut()?;
        let any = refusal.request == Request::Any && request != Request::Token;
        if refusal.times == 0 || !(any || refusal.request == request) {
            return None;
        }
        refusal.times -= u32::from(refusal.times != u32::MAX);
        Some((refusal.status, refusal.retry_after))
    }
}
