//! `ms2m-agent install`: puts `ms2m-runtime` on the node, and says what the node's containerd must be told of it.

pub(crate) mod containerd;
mod program;

use std::path::PathBuf;

use clap::Args;
use ms2m_core::{Error, ErrorKind, Result};

use crate::as_node;

/// The program by which copies are restored.
pub(crate) const NAME: &str = "ms2m-runtime";

#[derive(Args, Debug)]
pub(crate) struct InstallArgs {
    /// Where on the node ms2m-runtime is put
    #[arg(long, env = "MS2M_INSTALL_DIR", value_name = "DIR", default_value = "/opt/ms2m/bin")]
    directory: PathBuf,

    /// The ms2m-runtime that is installed [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// The handler of the RuntimeClass, which is the name of the runtime in containerd's configuration
    #[arg(long, env = "MS2M_RUNTIME_HANDLER", value_name = "NAME", default_value = "ms2m")]
    handler: String,

    /// Do not look into containerd's configuration
    #[arg(long, env = "MS2M_INSTALL_UNCHECKED")]
    unchecked: bool,

    /// Work as the node of this pod, as the agent does
    #[arg(long)]
    as_node: bool,
}

pub(crate) fn install(args: &InstallArgs) -> Result<()> {
    let from = match &args.from {
        Some(from) => from.clone(),
        None => std::env::current_exe().map(|own| own.with_file_name(NAME)).unwrap_or_default(),
    };
    // Of the pod, before its files are out of sight.
    let mut program = std::fs::File::open(&from).map_err(|error| {
        Error::fatal(ErrorKind::NotFound, "the program to install is not there; name it with --from")
            .with("file", from.display())
            .caused_by(error)
    })?;
    if args.as_node {
        as_node::enter()?;
    }
    let to = args.directory.join(NAME);
    let what = if program::put(&mut program, &to)? { "installed" } else { "the same one was there" };
    println!("{}: {what}", to.display());
    if args.unchecked {
        return Ok(());
    }
    let missing = match containerd::configuration()? {
        Some(configuration) => containerd::missing(&configuration, &args.handler, &to),
        None => {
            println!("no containerd runs on this node: its container engine is not checked");
            return Ok(());
        }
    };
    if missing.is_empty() {
        println!("containerd has the runtime {}", args.handler);
        return Ok(());
    }
    let message = format!(
        "containerd's configuration on this node lacks {}. Add this, restart containerd, and this container goes on by itself:\n{}",
        missing.join(" and "),
        containerd::wanted(&args.handler, &to)
    );
    Err(Error::fatal(ErrorKind::Unsupported, message))
}
