//! Checkpoints packed and moved, side by side in one run with other tools and with what bounds them, and a controller with many migrations.
//! `cargo xtask bench` builds and runs it.

mod archive;
mod args;
mod board;
mod bounds;
mod controller;
mod direct;
mod measure;
mod packing;
mod pull;
mod registry;
mod secured;
mod stage;
mod tool;

use anyhow::Result;
use clap::Parser as _;

use crate::archive::Archive;
use crate::args::{Args, Part, Task};
use crate::stage::Stage;

fn main() -> Result<()> {
    // An installed provider is the only error, and then one is there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    match &args.task {
        Some(Task::Pull(pull)) => pull::run(pull),
        Some(Task::Operate(operate)) => controller::operate(operate),
        None => measure_all(&args),
    }
}

fn measure_all(args: &Args) -> Result<()> {
    if args.parts.contains(&Part::Controller) {
        controller::measure(args)?;
    }
    if args.parts.iter().any(|part| *part != Part::Controller) {
        compare(args)?;
    }
    Ok(())
}

fn compare(args: &Args) -> Result<()> {
    let stage = Stage::new(args)?;
    println!("{} runs of each in turn, caches warm; s: the median. Each run is in brackets, in seconds.", args.runs);
    for size in &args.sizes {
        let archive = Archive::make(stage.home(), *size)?;
        for part in &args.parts {
            match part {
                Part::Packing => packing::compare(&stage, &archive)?,
                Part::Registry => registry::compare(&stage, &archive)?,
                Part::Direct => direct::compare(&stage, &archive)?,
                Part::Controller => {}
            }
        }
        archive.remove()?;
    }
    Ok(())
}
