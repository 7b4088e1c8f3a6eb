//! What a test may want of its server.

use std::fmt::Write as _;

/// How to start. The default is a plain broker with the management plugin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// `max_message_size`, in bytes.
    pub max_message_bytes: Option<u64>,
    /// Starts under a memory alarm, so that every publishing connection is blocked.
    pub memory_alarm: bool,
    /// Further lines of `rabbitmq.conf`.
    pub extra_config: String,
}

impl Options {
    /// `rabbitmq.conf` for these ports.
    pub(crate) fn config(&self, amqp: u16, management: u16) -> String {
        let mut text = format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {management}\n\
             disk_free_limit.absolute = 1MB\n\
             raft.wal_max_size_bytes = 64000000\n\
             log.file = false\n\
             log.console = true\n\
             log.console.level = info\n"
        );
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
