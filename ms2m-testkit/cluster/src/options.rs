//! What a test may want of its cluster.

use std::fmt;

/// One of the two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Node {
    /// `n1`, at 10.77.0.11.
    N1,
    /// `n2`, at 10.77.0.12.
    N2,
}

impl fmt::Display for Node {
    /// The node's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::N1 => "n1",
            Self::N2 => "n2",
        })
    }
}

/// How to start a cluster. The default has runc and no RabbitMQ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    pub(crate) rabbitmq: bool,
    pub(crate) runtime: String,
    pub(crate) hook: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { rabbitmq: false, runtime: "/usr/bin/runc".into(), hook: String::new() }
    }
}

impl Options {
    /// With a RabbitMQ: [`Cluster::rabbitmq`](crate::Cluster::rabbitmq).
    #[must_use]
    pub fn rabbitmq(mut self) -> Self {
        self.rabbitmq = true;
        self
    }

    /// The OCI runtime of both nodes, as they see it: a wrapper around runc, for example.
    #[must_use]
    pub fn runtime(mut self, path: impl Into<String>) -> Self {
        self.runtime = path.into();
        self
    }

    /// A piece of shell that each node runs before its containerd starts, with the node's number as `$1`: to change configuration, or to start
    /// an agent in the background.
    #[must_use]
    pub fn hook(mut self, script: impl Into<String>) -> Self {
        self.hook = script.into();
        self
    }
}
