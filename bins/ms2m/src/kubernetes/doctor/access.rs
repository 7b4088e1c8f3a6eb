//! What cannot be found out with the rights of who asks.

use ms2m_core::Error;
use ms2m_criu::check::Check;

/// The line of something that could not be looked at.
pub(super) fn unknown(name: &str, error: &Error) -> Check {
    Check::unknown(name, error.to_string()).remedy("ask as somebody who may look at that")
}
