//! What can be chosen about a demo.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ms2m_broker::link::QueueKind;
use ms2m_core::HandoverChoice;
use serde::{Deserialize, Serialize};

/// Messages of a short demo when nothing else is asked for.
pub(crate) const MESSAGES: u64 = 600;
/// More migrations than this take as many messages as it takes.
const SHORT_MIGRATIONS: u64 = 10;
/// More embedded migrations than this run on simulated time.
const REAL_TIME_MIGRATIONS: u64 = 100;

/// `ms2m demo`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DemoArgs {
    /// Messages in all [default: 600; with more than 10 migrations as many as it takes]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) messages: Option<u64>,
    /// Messages per second, of all publishers together
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// How many publishers
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) publishers: u32,
    /// How long the consumer works on one message, in microseconds
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    pub(crate) service_us: u64,
    /// How often the consumer moves, one time after another
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) migrations: u64,
    /// Faults during the migrations: crashes, pauses, lost connections, broken transfers
    #[arg(long, value_enum, default_value_t = FaultChoice::None)]
    pub(crate) faults: FaultChoice,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// A real RabbitMQ, as amqp://user:password@host:5672/vhost; consumers and publishers become processes
    #[arg(long, value_name = "URL")]
    pub(crate) broker: Option<String>,
    /// RabbitMQ's management API [default: http://HOST:15672 if it answers there]
    #[arg(long, value_name = "URL", requires = "broker")]
    pub(crate) management: Option<String>,
    /// Type of the queue
    #[arg(long, value_enum, default_value_t = QueueType::Quorum)]
    pub(crate) queue_type: QueueType,
    /// Declare the queue with a single active consumer
    #[arg(long)]
    pub(crate) single_active_consumer: bool,
    /// How the queue is handed over [default: journal; on streams offset]
    ///
    /// mirror is the published scheme: bind a second queue, checkpoint, replay it, delete it. It is no exact one; the audit
    /// is expected to catch it.
    #[arg(long, value_enum)]
    pub(crate) scheme: Option<Scheme>,
    /// Whether the consumer works on while its copy is made (chase) or stands still (hold)
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub(crate) mode: Mode,
    /// Keep everything about this demo there: started again with the same directory it goes on where it was (needs --broker)
    #[arg(long, value_name = "DIR", requires = "broker")]
    pub(crate) state_dir: Option<PathBuf>,
    /// What restarts the broker, for --faults random
    #[arg(long, value_name = "COMMAND", requires = "broker")]
    pub(crate) broker_restart_command: Option<String>,
    /// Time of an embedded demo. Simulated time jumps over waiting, so durations are simulated ones
    #[arg(long, value_enum, default_value_t = ClockChoice::Auto)]
    pub(crate) clock: ClockChoice,
    /// What is printed at the end
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum FaultChoice {
    None,
    Random,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum QueueType {
    Classic,
    Quorum,
    Stream,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Scheme {
    Journal,
    Offset,
    Mirror,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Mode {
    Auto,
    Chase,
    Hold,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum ClockChoice {
    Auto,
    Real,
    Simulated,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Output {
    Text,
    Json,
}

impl DemoArgs {
    /// What contradicts itself, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let stream = self.queue_type == QueueType::Stream;
        if stream && self.single_active_consumer {
            return Err("a stream has no single active consumer: leave --single-active-consumer out, or take another --queue-type".into());
        }
        match self.scheme {
            Some(Scheme::Journal) if stream => {
                return Err("on a stream the log itself is the journal: take --scheme offset, or another --queue-type".into());
            }
            Some(Scheme::Offset) if !stream => return Err("--scheme offset needs --queue-type stream".into()),
            Some(Scheme::Mirror) if stream => return Err("--scheme mirror needs a queue: take --queue-type classic or quorum".into()),
            Some(Scheme::Mirror) if self.faults != FaultChoice::None => {
                return Err("--scheme mirror knows no faults: it is wrong without them".into());
            }
            _ => {}
        }
        if self.broker.is_some() && self.clock == ClockChoice::Simulated {
            return Err("a real broker does not run on simulated time: leave --clock out".into());
        }
        Ok(())
    }

    /// How many messages there are to be; `None`: as many as it takes.
    pub(crate) fn messages(&self) -> Option<u64> {
        self.messages.or((self.migrations <= SHORT_MIGRATIONS).then_some(MESSAGES))
    }

    pub(crate) fn is_mirror(&self) -> bool {
        self.scheme == Some(Scheme::Mirror)
    }

    pub(crate) fn is_simulated(&self) -> bool {
        match self.clock {
            ClockChoice::Auto => self.broker.is_none() && self.migrations > REAL_TIME_MIGRATIONS,
            ClockChoice::Real => false,
            ClockChoice::Simulated => true,
        }
    }

    pub(crate) fn has_faults(&self) -> bool {
        self.faults == FaultChoice::Random
    }
}

impl From<QueueType> for QueueKind {
    fn from(kind: QueueType) -> Self {
        match kind {
            QueueType::Classic => Self::Classic,
            QueueType::Quorum => Self::Quorum,
            QueueType::Stream => Self::Stream,
        }
    }
}

impl From<Mode> for HandoverChoice {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => Self::Auto,
            Mode::Chase => Self::Chase,
            Mode::Hold => Self::Hold,
        }
    }
}
