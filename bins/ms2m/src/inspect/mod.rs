//! `ms2m inspect`: what is in a checkpoint, and whether it can be restored here.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use ms2m_criu::archive::Limits;
use ms2m_criu::inspect::{Here, Inspection, inspect, inspect_stream};
use ms2m_oci::{Layout, LayoutName, Tag};

use crate::demo::Output;
use crate::exit::Exit;

/// What to look into.
#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// An archive of containerd, CRI-O, podman or ms2m, a directory with an extracted one, a directory of CRIU images, or an OCI layout
    /// (a directory; oci:DIR:TAG when it holds several images).
    checkpoint: PathBuf,
    /// How to tell it.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Done when it could be read, whatever the verdict.
pub(crate) fn run(arguments: &InspectArgs) -> Exit {
    let inspection = match look(&arguments.checkpoint) {
        Ok(inspection) => inspection,
        Err(error) => {
            eprintln!("ms2m: {error}");
            return Exit::Failed;
        }
    };
    match print(&inspection, arguments.output) {
        Ok(()) => Exit::Done,
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            eprintln!("ms2m: writing the result: {error}");
            Exit::Failed
        }
    }
}

fn look(checkpoint: &Path) -> Result<Inspection, Box<dyn Error>> {
    let limits = Limits::default();
    let named = checkpoint.to_str().filter(|name| name.starts_with("oci:")).map(str::parse::<LayoutName>).transpose()?;
    let layout = match &named {
        Some(name) => (name.directory.as_path(), name.tag.as_ref()),
        None if checkpoint.join("index.json").exists() => (checkpoint, None),
        None => return Ok(inspect(checkpoint, &limits, &Here::probe())?),
    };
    let (directory, tag) = layout;
    let opened = Layout::open(directory, &ms2m_oci::Limits::default())?;
    let image = opened.checkpoint(tag.map(Tag::as_str))?;
    let name = format!("{}@{}", directory.display(), image.digest());
    Ok(inspect_stream(&name, image.layer().bytes, image.reader()?, &limits, &Here::probe())?)
}

fn print(inspection: &Inspection, output: Output) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match output {
        Output::Text => write!(out, "{inspection}")?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, inspection)?;
            writeln!(out)?;
        }
    }
    out.flush()
}
