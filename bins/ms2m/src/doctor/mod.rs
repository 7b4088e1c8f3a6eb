//! `ms2m doctor`: what this machine can checkpoint and restore, and what stands in the way of one container or process, or of a cluster's pod or node.

mod args;
mod output;

use ms2m_criu::check::{Check, CheckResult, worst};
use ms2m_criu::doctor::{MachineOptions, SourceOptions, machine, source};

use crate::exit::Exit;
use crate::kubernetes::{Question, examine, examine_node};
pub(crate) use args::DoctorArgs;

/// Runs the checks and prints them. Failed when one of them fails.
pub(crate) fn run(arguments: &DoctorArgs) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error.to_string()),
    };
    let checks = match runtime.block_on(check(arguments)) {
        Ok(checks) => checks,
        Err(reason) => return refuse(&reason),
    };
    if let Err(error) = output::print(&checks, arguments.output) {
        return refuse(&format!("writing the result: {error}"));
    }
    if worst(&checks) == CheckResult::Fail { Exit::Failed } else { Exit::Done }
}

fn refuse(reason: &str) -> Exit {
    eprintln!("ms2m: {reason}");
    Exit::Failed
}

async fn check(arguments: &DoctorArgs) -> Result<Vec<Check>, String> {
    if let Some(pod) = &arguments.pod {
        let question = Question { cluster: &arguments.cluster, pod, to: arguments.to.as_deref() };
        return examine(&question).await.map_err(|error| error.to_string());
    }
    if let Some(node) = &arguments.node {
        return examine_node(&arguments.cluster.access, node).await.map_err(|error| error.to_string());
    }
    let runtime = arguments.runtime.map(Into::into);
    let against = arguments.against.clone();
    let work_dir = arguments.work_dir.clone();
    if let Some(name) = &arguments.source {
        let runtime_root = arguments.runtime_root.clone();
        let taker = arguments.taken_by.into();
        let options = SourceOptions { source: name.clone(), runtime, runtime_root, taker, work_dir };
        return source(&options).await.map_err(|error| error.to_string());
    }
    Ok(machine(&MachineOptions { runtime, criu: arguments.criu.clone(), work_dir, against }).await)
}
