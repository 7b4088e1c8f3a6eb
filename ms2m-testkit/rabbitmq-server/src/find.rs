//! Where RabbitMQ's own start script is.

use std::env;
use std::path::{Path, PathBuf};

use crate::StartError;

/// Debian's `rabbitmq-server` on PATH is a wrapper that changes to the user `rabbitmq` and logs to `/var/log`, so the script
/// behind it is preferred.
const KNOWN: [&str; 2] = ["/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/rabbitmq/sbin/rabbitmq-server"];

pub(crate) fn start_script() -> Result<PathBuf, StartError> {
    if let Some(path) = env::var_os("RABBITMQ_SERVER") {
        return Ok(path.into());
    }
    let on_path = env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let on_path = on_path.filter(|directory| directory != Path::new("/usr/sbin")).map(|directory| directory.join("rabbitmq-server"));
    KNOWN.iter().map(PathBuf::from).chain(on_path).find(|path| path.is_file()).ok_or(StartError::NotInstalled)
}
