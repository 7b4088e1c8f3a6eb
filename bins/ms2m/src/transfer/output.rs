//! What is said of a transfer that has succeeded.

use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::HumanBytes;
use ms2m_core::Receipt;
use serde::Serialize;

use crate::demo::Output;

#[derive(Serialize)]
struct Sent<'a> {
    #[serde(flatten)]
    receipt: &'a Receipt,
    took_ms: f64,
}

/// The receipt, on standard output.
pub(super) fn print(output: Output, receipt: &Receipt, took: Duration) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, &Sent { receipt, took_ms: took.as_secs_f64() * 1e3 })?;
            writeln!(out)
        }
        Output::Text => {
            let (bytes, sent) = (HumanBytes(receipt.archive_bytes), HumanBytes(receipt.transferred_bytes));
            writeln!(out, "{}: {bytes} ({sent} sent) in {:.2} s", receipt.migration, took.as_secs_f64())?;
            writeln!(out, "  {}", receipt.digest)?;
            writeln!(out, "  {}", receipt.location)
        }
    }
}
