//! Errors, where the engine looks for them.

use std::fs::File;
use std::io::Write as _;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::call::Call;

/// On standard error, and in the file that the engine reads: what stands there comes into the pod's events.
pub(crate) fn say(call: &Call, message: &str) {
    eprintln!("ms2m-runtime: {message}");
    let Some(log) = &call.log else { return };
    let message = format!("ms2m: {message}");
    let line = if call.log_is_json {
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        json!({"level": "error", "msg": message, "time": now}).to_string()
    } else {
        message
    };
    if let Ok(mut file) = File::options().create(true).append(true).open(log) {
        // Nobody is left to tell.
        let _ = writeln!(file, "{line}");
    }
}
