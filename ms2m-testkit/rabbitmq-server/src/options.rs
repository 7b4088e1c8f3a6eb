//! What a test may want of its server.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// How to start. The default is a plain broker with the management plugin.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Options {
    /// `max_message_size`, in bytes.
    pub max_message_bytes: Option<u64>,
    /// Starts under a memory alarm, so that every publishing connection is blocked.
    pub memory_alarm: bool,
    /// Further lines of `rabbitmq.conf`.
    pub extra_config: String,
    /// Where it listens: the loopback, unless others than this machine shall reach it. They may all be `guest` then.
    pub address: Ipv4Addr,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_message_bytes: None, memory_alarm: false, extra_config: String::new(), address: Ipv4Addr::LOCALHOST }
    }
}

impl Options {
    /// `rabbitmq.conf` for these ports.
    pub(crate) fn config(&self, amqp: u16, management: u16) -> String {
        let address = self.address;
        let mut text = format!(
            "listeners.tcp.1 = {address}:{amqp}\n\
             management.tcp.ip = {address}\n\
             management.tcp.port = {management}\n\
             disk_free_limit.absolute = 1MB\n\
             raft.wal_max_size_bytes = 64000000\n\
             log.file = false\n\
             log.console = true\n\
             log.console.level = info\n"
        );
        if !address.is_loopback() {
            text.push_str("loopback_users = none\n");
        }
        if let Some(bytes) = self.max_message_bytes {
            let _ = writeln!(text, "max_message_size = {bytes}");
        }
        if self.memory_alarm {
            text.push_str("vm_memory_high_watermark.absolute = 1MB\n");
        }
        text.push_str(&self.extra_config);
        text
    }
}
