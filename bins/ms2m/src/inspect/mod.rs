//! `ms2m inspect`: what is in a checkpoint, and whether it can be restored here.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use ms2m_criu::archive::Limits;
use ms2m_criu::inspect::{Here, Inspection, inspect};

use crate::demo::Output;
use crate::exit::Exit;

/// What to look into.
#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// An archive of containerd, CRI-O, podman or ms2m, a directory with an extracted one, or a directory of CRIU images.
    checkpoint: PathBuf,
    /// How to tell it.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Done when it could be read, whatever the verdict.
pub(crate) fn run(arguments: &InspectArgs) -> Exit {
    let inspection = match inspect(&arguments.checkpoint, &Limits::default(), &Here::probe()) {
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
