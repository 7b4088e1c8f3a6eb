//! What was packed, for people and for programs.

use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::HumanBytes;
use ms2m_oci::{LayoutName, Packed, Placed};
use serde_json::{Value, json};

use crate::demo::Output;

pub(super) fn print(packed: &Packed, name: &LayoutName, took: Duration, output: Output) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Text => out.write_all(text(packed, name, took).as_bytes()),
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, &json(packed, name, took))?;
            writeln!(out)
        }
    }
}

fn text(packed: &Packed, name: &LayoutName, took: Duration) -> String {
    let Packed { image, tag, archive_bytes, placed, added } = packed;
    let seconds = took.as_secs_f64();
    let rate = HumanBytes((*archive_bytes as f64 / seconds.max(1e-6)) as u64);
    let done = if *added { "packed" } else { "was there already" };
    let how = match placed {
        Placed::Reflink => "shares the archive's blocks".to_owned(),
        Placed::HardLink => "is the archive under another name: do not write to it".to_owned(),
        Placed::Copy => "is a copy".to_owned(),
        Placed::Compressed => format!("is compressed to {}", HumanBytes(image.layer.bytes)),
    };
    format!(
        "oci:{}:{tag}: {done}, {} in {seconds:.2} s, {rate}/s\n  manifest  {}\n  layer     {}, {how}\n",
        name.directory.display(),
        HumanBytes(*archive_bytes),
        image.manifest.digest(),
        image.layer.digest,
    )
}

fn json(packed: &Packed, name: &LayoutName, took: Duration) -> Value {
    let Packed { image, tag, archive_bytes, placed, added } = packed;
    let layer = image.layer;
    json!({
        "layout": name.directory,
        "tag": tag.as_str(),
        "added": added,
        "manifest": image.manifest.digest(),
        "config": image.config.digest(),
        "layer": { "digest": layer.digest, "bytes": layer.bytes, "diff_id": layer.diff_id, "placed": placed.as_str() },
        "archive_bytes": archive_bytes,
        "took_ms": took.as_secs_f64() * 1e3,
        "annotations": image.annotations,
    })
}
