//! What an agent has answered, for people and for programs.

use std::io::{self, Write};

use indicatif::HumanBytes;
use ms2m_core::MigrationId;
use ms2m_transfer_direct::{Status, Stored};
use serde_json::json;

use super::args::Who;
use crate::demo::Output;

/// An answer.
pub(super) enum Told {
    Status(Status),
    List(Vec<Stored>),
    Discarded(MigrationId),
}

pub(super) fn print(who: &Who, told: &Told) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match who.output {
        Output::Text => text(&mut out, &who.url, told),
        Output::Json => {
            match told {
                Told::Status(status) => serde_json::to_writer_pretty(&mut out, status)?,
                Told::List(stored) => serde_json::to_writer_pretty(&mut out, stored)?,
                Told::Discarded(migration) => serde_json::to_writer_pretty(&mut out, &json!({ "discarded": migration }))?,
            }
            writeln!(out)
        }
    }
}

fn text(out: &mut impl Write, url: &str, told: &Told) -> io::Result<()> {
    match told {
        Told::Status(status) => {
            let ready = if status.ready { "ready" } else { "ending: it takes nothing new" };
            writeln!(out, "{url}: {ready}")?;
            writeln!(out, "  release    {} ({})", status.version, status.protocol)?;
            let (free, max) = (HumanBytes(status.free_bytes), HumanBytes(status.archive_bytes_max));
            writeln!(out, "  room       {free}; a checkpoint may have {max}")?;
            writeln!(out, "  holds      {} parts, {}", status.parts, HumanBytes(status.parts_bytes))?;
            let (open, at_most) = (status.transfers_open, status.transfers_max);
            writeln!(out, "  going on   {open} of {at_most} transfers, {} connections", status.connections_open)
        }
        Told::List(stored) if stored.is_empty() => writeln!(out, "{url}: holds nothing"),
        Told::List(stored) => {
            for stored in stored {
                let (part, bytes) = (stored.part.to_string(), HumanBytes(stored.archive_bytes).to_string());
                writeln!(out, "{}  {part:10}  {bytes:>12}  {}  {}", stored.migration, stored.digest, stored.location)?;
            }
            Ok(())
        }
        Told::Discarded(migration) => writeln!(out, "{migration}: nothing of it is left at {url}"),
    }
}
