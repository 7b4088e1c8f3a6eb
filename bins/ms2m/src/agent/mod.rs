//! `ms2m agent`: what a person wants of a node's agent.

mod args;
mod output;

use std::io;

use ms2m_core::{Result, TransferBackend as _};

pub(crate) use self::args::AgentArgs;
use self::args::{What, Who};
use self::output::Told;
use crate::backend;
use crate::exit::Exit;

/// Asks, and tells the answer.
pub(crate) fn run(args: &AgentArgs) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ms2m: no threads to run on: {error}");
            return Exit::Failed;
        }
    };
    let (What::Status(who) | What::List(who) | What::Discard { who, .. }) = &args.what;
    let told = match runtime.block_on(ask(who, &args.what)) {
        Ok(told) => told,
        Err(error) => {
            eprintln!("ms2m: {error}");
            return Exit::Failed;
        }
    };
    match output::print(who, &told) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("ms2m: the answer cannot be printed: {error}");
            Exit::Failed
        }
        // Whoever reads has seen enough.
        _ if matches!(&told, Told::Status(status) if !status.ready) => Exit::Failed,
        _ => Exit::Done,
    }
}

async fn ask(who: &Who, what: &What) -> Result<Told> {
    let agent = backend::direct(&who.credentials, who.node.as_deref(), &who.url)?;
    Ok(match what {
        What::Status(_) => Told::Status(agent.status().await?),
        What::List(_) => Told::List(agent.list().await?),
        What::Discard { migration, .. } => {
            agent.discard(migration).await?;
            Told::Discarded(migration.clone())
        }
    })
}
