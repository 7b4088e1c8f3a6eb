//! A bare process with everything that it has started, and its copy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ms2m_core::{Error, ErrorKind, InstanceId, MigrationId, MigrationReport, Outcome, Result};
use ms2m_criu::criu::Criu;
use ms2m_criu::process::{ProcessId, ProcessSource, ProcessTarget, SourceOptions, TargetOptions, TreeId};
use ms2m_criu::standstill::Standstill;

use super::args::MigrateArgs;
use super::local::{Parties, instance, make_private, place};
use crate::file_store::{read_json, write_json};

/// Both ends. Of a migration that was begun the source may have ended.
pub(super) async fn parties(args: &MigrateArgs, migration: &MigrationId, begun: bool) -> Result<Parties> {
    if args.sources.len() > 1 {
        return Err(Error::fatal(ErrorKind::Invalid, "processes move one by one: name one --source, which takes its children along"));
    }
    for (option, given) in [("--bundle", &args.bundle), ("--runtime-root", &args.runtime_root), ("--network", &args.network)] {
        if given.is_some() {
            return Err(Error::fatal(ErrorKind::Invalid, format!("{option} is for containers: leave it out")));
        }
    }
    let file = place(args, migration).join("tree.json");
    let known: Option<TreeId> = if begun { read_json(&file)? } else { None };
    let options = SourceOptions { criu: Criu::new(&args.criu), ..SourceOptions::new(args.work_dir.join("sources")) };
    let (source, instance) = match known {
        // Who the source is stands in the migration's state.
        Some(tree) => (ProcessSource::known(tree, options).await?, InstanceId::new(args.source())?),
        None => {
            let pid = pid(args)?;
            let instance = instance(args, &PathBuf::from(format!("/proc/{pid}/root")))?;
            (ProcessSource::new(pid, options).await?, instance)
        }
    };
    if !begun {
        make_private(&place(args, migration))?;
        write_json(&file, &source.tree())?;
    }
    let target = Arc::new(target(args)?);
    let source = Arc::new(source);
    let standstill = Standstill::of_process(Arc::clone(&source), &args.work_dir, Arc::clone(&target));
    Ok(Parties { source, target, standstill, instance })
}

/// Whether the source has ended.
pub(super) fn is_gone(args: &MigrateArgs) -> bool {
    pid(args).is_ok_and(|pid| ProcessId::of(pid).is_err())
}

/// Says which process the copy is: nothing else would.
pub(super) fn tell(args: &MigrateArgs, report: &MigrationReport) {
    if report.outcome != Outcome::Completed {
        return;
    }
    match target(args).and_then(|target| target.copy(&report.id)) {
        Ok(Some(copy)) => {
            let files = copies(args).join(report.id.as_str());
            eprintln!("ms2m: the copy is process {copy}; its own files lie in {}", files.display());
        }
        Ok(None) => eprintln!("ms2m: the copy has ended since"),
        Err(error) => eprintln!("ms2m: it is not known which process the copy is: {error}"),
    }
}

fn target(args: &MigrateArgs) -> Result<ProcessTarget> {
    let identity = args.broker.is_some().then(|| args.identity_file.clone());
    ProcessTarget::new(TargetOptions { criu: Criu::new(&args.criu), identity, ..TargetOptions::new(copies(args)) })
}

/// The copies' own files stay there as long as they live.
fn copies(args: &MigrateArgs) -> PathBuf {
    Path::new(&args.work_dir).join("processes")
}

fn pid(args: &MigrateArgs) -> Result<u32> {
    args.source().parse().map_err(|_| {
        let message = "a process is named by its id, for example `--source $(pidof -s PROGRAM)`";
        Error::fatal(ErrorKind::Invalid, message).with("source", args.source())
    })
}
