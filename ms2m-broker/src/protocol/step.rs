//! What the machines of source and copy are told, and what they ask their host to do.

use ms2m_core::Digest;

use crate::message::Message;
use crate::protocol::record::{Determinants, Record};

/// Something that has happened at a consumer.
#[expect(clippy::large_enum_variant, reason = "made once per message: a box would be an allocation on the hot path")]
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// The connection stands (again); where a journal is open, its reader stands as well.
    Connected,
    /// The connection is lost, and with it every channel on it.
    Disconnected,
    /// The consumer on the primary queue is registered.
    Subscribed,
    /// The primary queue has delivered.
    Delivered(Delivered),
    /// The channel of the consumer is closed (close-ok), or the broker had closed it.
    Closed,
    /// A passive look has shown no consumer on the primary queue.
    NoConsumers,
    /// The handler has applied what [`Action::Apply`] handed to it.
    ApplyDone {
        /// What it took from outside.
        determinants: Determinants,
        /// When it began, in microseconds since the Unix epoch.
        began_at_us: u64,
        /// When it ended, in microseconds since the Unix epoch.
        ended_at_us: u64,
    },
    /// Effects of all messages up to `n` have been taken over by where they go.
    Flushed {
        /// The last of them.
        n: u64,
    },
    /// The journal's next record, in the journal's order.
    Record {
        /// What was read.
        record: Record,
        /// When, in microseconds since the Unix epoch.
        at_us: u64,
    },
    /// The journal does not exist any more.
    JournalGone,
    /// Nobody has written to the journal for as long as this side is willing to wait.
    PatienceOver,
    /// It is time to tell how far this side is.
    ProgressDue,
}

/// A delivery from the primary queue.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Delivered {
    /// What to acknowledge it by.
    pub tag: u64,
    /// Position in the log, on streams.
    pub offset: Option<u64>,
    /// The broker's flag.
    pub redelivered: bool,
    /// The message.
    pub message: Message,
}

/// Why a message is applied.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ApplyMode {
    /// As the queue's owner: values from outside are fetched and recorded, effects follow by [`Action::Release`].
    Live,
    /// As the source did: values from outside come from here. Effects are computed and kept until [`Action::Release`] or [`Action::Forget`].
    Replay(Determinants),
}

/// What the host is asked to do, in this order.
#[expect(clippy::large_enum_variant, reason = "made once per message: a box would be an allocation on the hot path")]
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Consume from the primary queue; on a stream from this offset on. Answer [`Event::Subscribed`].
    Subscribe {
        /// First offset wanted, on streams.
        from_offset: Option<u64>,
    },
    /// Close the consumer's channel without a cancel; throw away what arrives meanwhile. Answer [`Event::Closed`].
    Close,
    /// Only under a mutation of the rules: `basic.cancel` on the consumer.
    Cancel,
    /// Acknowledge everything up to `tag`, in one frame.
    Ack {
        /// The last one.
        tag: u64,
    },
    /// Look at the primary queue until it has no consumer; cut `fence` off first if given. Answer [`Event::NoConsumers`].
    AwaitNoConsumers {
        /// A connection to cut off at the broker, where that is possible.
        fence: Option<String>,
    },
    /// Hand a message to the handler. One at a time. Answer [`Event::ApplyDone`].
    Apply {
        /// Its number.
        n: u64,
        /// The message.
        message: Message,
        /// Why.
        mode: ApplyMode,
    },
    /// Let the effects of `n` out. In order of `n`. Answer [`Event::Flushed`].
    Release {
        /// Whose.
        n: u64,
    },
    /// Throw away kept effects of all messages up to `n`: somebody else has let them out.
    Forget {
        /// The last of them.
        n: u64,
    },
    /// Append to the journal; it comes back as [`Event::Record`]. Not waited for: a lost connection says that it may be lost.
    Append(Record),
    /// Parked at a safe point: take the snapshot now if it is taken cooperatively. The next action tells the controller.
    Parked {
        /// Last message applied.
        n: u64,
        /// Digest chain there.
        digest: Digest,
    },
    /// Work at this share of the full rate.
    Brake {
        /// Thousandths.
        permille: u16,
    },
    /// Stop reading the journal: this consumer works without it.
    LeaveJournal,
    /// Nothing is left to do here.
    Exit(Exit),
}

/// Why a consumer ends.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Exit {
    /// The copy owns the queue; this was its source.
    Moved,
    /// This was a copy that is not needed.
    Discarded(String),
    /// The journal vanished while its verdict mattered: this consumer cannot know whether it still owns the queue.
    Orphaned,
}
