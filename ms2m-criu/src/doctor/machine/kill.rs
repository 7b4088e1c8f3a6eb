//! Whether one connection can be killed from outside (`INET_DIAG_DESTROY`), which closes the copy's connections one by one.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use crate::check::Check;
use crate::doctor::tool::{self, ToolError};

/// How the probe went.
pub(super) enum Finding {
    Killed,
    Survived(String),
    NoTool(ToolError),
    NoConnection(io::Error),
}

/// Connects to itself and kills that connection.
pub(super) async fn probe() -> Finding {
    let (mut client, server) = match pair() {
        Ok(pair) => pair,
        Err(error) => return Finding::NoConnection(error),
    };
    let (from, to) = match (client.local_addr(), server.local_addr()) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(error), _) | (_, Err(error)) => return Finding::NoConnection(error),
    };
    match tool::ask("ss", ["-H", "-K", "-n", "-t", "src", &from.to_string(), "dst", &to.to_string()]).await {
        Err(error) => Finding::NoTool(error),
        // A connection that lives has nothing to read.
        Ok(said) => match client.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Finding::Killed,
            _ => Finding::Survived(said.complaint().to_owned()),
        },
    }
}

fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect_timeout(&listener.local_addr()?, Duration::from_secs(1))?;
    client.set_read_timeout(Some(Duration::from_millis(200)))?;
    Ok((client, listener.accept()?.0))
}

pub(super) fn check(finding: Finding) -> Check {
    const NAME: &str = "connection-kill";
    const WITHOUT: &str = "connections of the copy cannot be closed one by one, only all together (tcp-close)";
    match finding {
        Finding::Killed => Check::ok(NAME, "`ss -K` kills a connection (probed on our own)"),
        Finding::Survived(said) => Check::warn(NAME, format!("`ss -K` did not kill our own connection ({said}): {WITHOUT}"))
            .remedy("needs CAP_NET_ADMIN and a kernel with CONFIG_INET_DIAG_DESTROY"),
        Finding::NoTool(error) => Check::warn(NAME, format!("ss: {error}: {WITHOUT}")).remedy("install iproute2"),
        Finding::NoConnection(error) => Check::unknown(NAME, format!("no connection to ourselves for the probe: {error}"))
            .remedy("bring the loopback interface up: `ip link set lo up`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckResult;

    #[test]
    fn each_finding_has_its_line() {
        assert_eq!(check(Finding::Killed).result, CheckResult::Ok);
        assert_eq!(check(Finding::Survived("RTNETLINK answers: Operation not supported".into())).result, CheckResult::Warn);
        assert_eq!(check(Finding::NoTool(ToolError::NotFound)).result, CheckResult::Warn);
        assert_eq!(check(Finding::NoConnection(io::ErrorKind::NetworkUnreachable.into())).result, CheckResult::Unknown);
    }

    #[tokio::test]
    async fn the_probe_comes_to_an_end() {
        let _ = check(probe().await);
    }
}
