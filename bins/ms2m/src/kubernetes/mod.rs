//! Migrations of a cluster: made, followed, listed, cancelled and reported, as resources of Kubernetes.

mod args;
mod cancel;
mod client;
mod columns;
mod consumed;
mod create;
mod doctor;
mod drain;
mod follow;
mod list;
mod report;
mod shown;

use ms2m_core::Result;

pub(crate) use self::args::{CancelArgs, ClusterArgs, DescribeArgs, ListArgs, MoveArgs, ReportArgs};
pub(crate) use self::doctor::{Question, examine, examine_node};
pub(crate) use self::drain::DrainArgs;
use crate::exit::Exit;
use crate::migrate::MigrateArgs;

/// `ms2m migrate POD`.
pub(crate) fn migrate(args: &MigrateArgs, pod: &str) -> Exit {
    run(create::create(args, pod))
}

/// `ms2m drain`.
pub(crate) fn drain(args: &DrainArgs) -> Exit {
    run(drain::drain(args))
}

/// `ms2m list`.
pub(crate) fn list(args: &ListArgs) -> Exit {
    run(list::list(args))
}

/// `ms2m describe`.
pub(crate) fn describe(args: &DescribeArgs) -> Exit {
    run(list::describe(args))
}

/// `ms2m cancel`.
pub(crate) fn cancel(args: &CancelArgs) -> Exit {
    run(cancel::cancel(args))
}

/// `ms2m report`.
pub(crate) fn report(args: &ReportArgs) -> Exit {
    run(report::report(args))
}

fn run(work: impl Future<Output = Result<Exit>>) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ms2m: no threads to run on: {error}");
            return Exit::Failed;
        }
    };
    match runtime.block_on(work) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("ms2m: {error}");
            Exit::Failed
        }
    }
}
