//! `ms2m pack`: a checkpoint archive becomes an OCI image.

mod args;
mod output;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ms2m_core::{Error, ErrorKind, Result};
pub(crate) use ms2m_image_store::facts;
use ms2m_oci::{PackOptions, Packed, pack};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;
use crate::progress::bytes_bar;
pub(crate) use args::PackArgs;

/// Done when the image is in the layout, whether it was new or not.
pub(crate) fn run(arguments: PackArgs) -> Exit {
    let (output, name) = (arguments.output, arguments.to.clone());
    match run_interruptible(arguments) {
        Ok((packed, took)) => match output::print(&packed, &name, took, output) {
            Ok(()) => Exit::Done,
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Err(error) => {
                eprintln!("ms2m: writing the result: {error}");
                Exit::Failed
            }
        },
        Err(error) => {
            eprintln!("ms2m: {error}");
            Exit::Failed
        }
    }
}

/// A signal stops the work, so that nothing half done is left.
fn run_interruptible(arguments: PackArgs) -> Result<(Packed, Duration)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::fatal(ErrorKind::Other, "the work cannot begin").caused_by(error))?;
    runtime.block_on(async {
        let stop = Arc::new(AtomicBool::new(false));
        let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        let told = Arc::clone(&stop);
        tokio::spawn(async move {
            let [Ok(mut interrupt), Ok(mut terminate)] = signals else { return };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            told.store(true, Ordering::Relaxed);
        });
        let work = tokio::task::spawn_blocking(move || work(&arguments, &stop));
        work.await.map_err(|error| Error::fatal(ErrorKind::Other, "a thread has died").caused_by(error))?
    })
}

fn work(arguments: &PackArgs, stop: &AtomicBool) -> Result<(Packed, Duration)> {
    let begin = Instant::now();
    let facts = facts::facts(&arguments.archive)?;
    let options = PackOptions { compression: arguments.compress.into(), copy: arguments.copy, ..PackOptions::default() };
    // The link that was followed to look into it is followed to pack it.
    let archive = arguments.archive.canonicalize().unwrap_or_else(|_| arguments.archive.clone());
    let bar = bytes_bar("packing", archive.metadata().map_or(0, |metadata| metadata.len()));
    let packed = pack(&archive, &arguments.to, &facts, &options, &mut |bytes| {
        bar.set_position(bytes);
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    Ok((packed?, begin.elapsed()))
}
