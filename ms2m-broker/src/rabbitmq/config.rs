//! Where the broker is.

use std::fmt;

use lapin::uri::{AMQPScheme, AMQPUri};
use url::{Host, Url};

use crate::link::{LinkError, LinkResult};

/// RabbitMQ's own is 60 s: too long to learn that a node died without a word.
const HEARTBEAT_S: u16 = 10;
/// lapin keeps a ring of 32 frames each way, and a process in a checkpoint pays for it in its image: 1 MiB each instead of 4.
const FRAME_BYTES: u32 = 32 * 1024;

/// Where a RabbitMQ is, and who connects.
#[derive(Clone)]
pub struct RabbitMqConfig {
    pub(super) uri: AMQPUri,
    pub(super) management: Option<Url>,
}

impl RabbitMqConfig {
    /// `amqp://user:password@host:5672/vhost`, or `amqps`. Without a path the virtual host is `/`.
    /// The URL's own `heartbeat` and `frame_max` win over the defaults here (10 s, 32 KiB).
    ///
    /// # Errors
    /// [`LinkError::Refused`] when it is no such URL. The text never repeats the URL: it may hold a password.
    pub fn new(amqp_url: &str) -> LinkResult<Self> {
        let refused =
            || LinkError::Refused("this is not an AMQP URL; write amqp://user:password@host:5672/vhost, special characters as %xx".into());
        let mut uri: AMQPUri = amqp_url.parse().map_err(|_| refused())?;
        // lapin takes an IPv6 address for no host at all, and no host for localhost.
        if let Some(Host::Ipv6(address)) = Url::parse(amqp_url).map_err(|_| refused())?.host() {
            uri.authority.host = address.to_string();
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        uri.query.frame_max.get_or_insert(FRAME_BYTES);
        Ok(Self { uri, management: None })
    }

    /// Uses the management API there, for [`fence`](crate::Broker::fence) and [`inspect`](crate::Broker::inspect). User and
    /// password are those of the AMQP URL unless this URL has its own.
    ///
    /// # Errors
    /// [`LinkError::Refused`] when it is no http(s) URL.
    pub fn with_management(mut self, url: &str) -> LinkResult<Self> {
        let refused = || LinkError::Refused("this is not a URL of the management API; write http://host:15672".into());
        let url = Url::parse(url).map_err(|_| refused())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(refused());
        }
        self.management = Some(url);
        Ok(self)
    }

    /// Uses the management API where RabbitMQ puts it by default: same host, plain HTTP, port 15672.
    ///
    /// # Errors
    /// [`LinkError::Refused`] when the host fits no http URL.
    pub fn with_default_management(self) -> LinkResult<Self> {
        let host = &self.uri.authority.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        self.with_management(&format!("http://{host}:15672"))
    }

    /// The one or the other, for programs with an option for it.
    ///
    /// # Errors
    /// [`LinkError::Refused`] when what is given is no http(s) URL.
    pub fn with_management_or_default(self, url: Option<&str>) -> LinkResult<Self> {
        match url {
            Some(url) => self.with_management(url),
            None => self.with_default_management(),
        }
    }

    pub(super) fn uses_tls(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQPS || self.management.as_ref().is_some_and(|url| url.scheme() == "https")
    }
}

impl fmt::Debug for RabbitMqConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, authority, vhost, .. } = &self.uri;
        let management =
            self.management.as_ref().map(|url| format!("{}://{}", url.scheme(), url.authority().rsplit('@').next().unwrap_or("")));
        f.debug_struct("RabbitMqConfig")
            .field("scheme", scheme)
            .field("user", &authority.userinfo.username)
            .field("host", &authority.host)
            .field("port", &authority.port)
            .field("vhost", vhost)
            .field("management", &management)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() -> LinkResult<()> {
        let config = RabbitMqConfig::new("amqp://user:s3cret@broker:5673/a%2Fb")?.with_management("http://admin:s3cret@broker:15672")?;
        let shown = format!("{config:?}");
        assert!(shown.contains("user") && shown.contains("broker") && shown.contains("a/b"), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
        for wrong in ["http://user:s3cret@broker", "amqp://user:s3cret@broker:port", "s3cret"] {
            let error = RabbitMqConfig::new(wrong).expect_err("no AMQP URL").to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
        Ok(())
    }

    #[test]
    fn defaults_give_way_to_the_url() -> LinkResult<()> {
        let config = RabbitMqConfig::new("amqp://broker")?;
        assert_eq!((config.uri.query.heartbeat, config.uri.vhost.as_str()), (Some(HEARTBEAT_S), "/"));
        assert_eq!(config.management, None);
        assert_eq!(RabbitMqConfig::new("amqp://broker?heartbeat=3")?.uri.query.heartbeat, Some(3));
        let management = RabbitMqConfig::new("amqp://[::1]:5672")?.with_default_management()?.management;
        assert_eq!(management.map(String::from).as_deref(), Some("http://[::1]:15672/"));
        Ok(())
    }
}
