//! One queue: the order in which its messages leave, and what returns where.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ms2m_broker::Message;
use ms2m_broker::link::{QueueKind, QueueOptions};

/// What a message costs in a log beyond its body.
const ENTRY_BYTES: u64 = 64;

/// A message on its way through a queue.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) message: Arc<Message>,
    /// Position of arrival; the offset on a stream.
    pub(super) position: u64,
    /// How often it has returned.
    pub(super) returns: u32,
}

#[derive(Debug)]
pub(super) struct Queue {
    /// Tells it from an earlier queue of the same name.
    pub(super) id: u64,
    pub(super) options: QueueOptions,
    /// The connection an exclusive queue lives with.
    pub(super) owner: Option<u64>,
    /// In order of registration; the first is the single active one.
    pub(super) consumers: VecDeque<u64>,
    /// A message of a publisher that another publisher's next one will overtake (see `Faults::fanout_inversion`).
    pub(super) overtaken: Option<(u64, Arc<Message>)>,
    arrivals: u64,
    ready: VecDeque<Stored>,
    /// Returned messages leave before all others: a classic queue sorts them by position, a quorum queue by order of return.
    returned: BTreeMap<u64, Stored>,
    return_count: u64,
    log: VecDeque<Arc<Message>>,
    log_bytes: u64,
}

impl Queue {
    pub(super) fn new(id: u64, options: QueueOptions, owner: Option<u64>) -> Self {
        Self {
            id,
            options,
            owner,
            consumers: VecDeque::new(),
            overtaken: None,
            arrivals: 0,
            ready: VecDeque::new(),
            returned: BTreeMap::new(),
            return_count: 0,
            log: VecDeque::new(),
            log_bytes: 0,
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        self.options.kind == QueueKind::Stream
    }

    pub(super) fn ready(&self) -> usize {
        if self.is_stream() { self.log.len() } else { self.ready.len() + self.returned.len() }
    }

    pub(super) fn push(&mut self, message: Arc<Message>) {
        let position = self.arrivals;
        self.arrivals += 1;
        if self.is_stream() {
            self.log_bytes += cost(&message);
            self.log.push_back(message);
            self.truncate();
        } else {
            self.ready.push_back(Stored { message, position, returns: 0 });
        }
    }

    fn truncate(&mut self) {
        let Some(bytes_max) = self.options.bytes_max else { return };
        // The newest entry always stays, as the newest segment does.
        while self.log_bytes > bytes_max && self.log.len() > 1 {
            if let Some(oldest) = self.log.pop_front() {
                self.log_bytes -= cost(&oldest);
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<Stored> {
        self.returned.pop_first().map(|(_, stored)| stored).or_else(|| self.ready.pop_front())
    }

    /// Takes a message back. Every position handed out is lower than those still in `ready`, so both orders are right.
    pub(super) fn give_back(&mut self, mut stored: Stored, delivery_limit: Option<u32>) {
        stored.returns += 1;
        let key = match self.options.kind {
            QueueKind::Classic => stored.position,
            QueueKind::Quorum if delivery_limit.is_some_and(|limit| stored.returns > limit) => return,
            QueueKind::Quorum => {
                self.return_count += 1;
                self.return_count
            }
            QueueKind::Stream => return,
        };
        self.returned.insert(key, stored);
    }

    /// Where a new reader of the log starts.
    pub(super) fn cursor(&self, from_offset: Option<u64>) -> u64 {
        from_offset.map_or(self.arrivals, |offset| offset.max(self.first_offset()))
    }

    /// The entry at `cursor`, or the oldest one left when that has been truncated away.
    pub(super) fn read(&self, cursor: u64) -> Option<Stored> {
        let position = cursor.max(self.first_offset());
        let index = usize::try_from(position - self.first_offset()).ok()?;
        self.log.get(index).map(|message| Stored { message: Arc::clone(message), position, returns: 0 })
    }

    fn first_offset(&self) -> u64 {
        self.arrivals - self.log.len() as u64
    }
}

fn cost(message: &Message) -> u64 {
    message.body.len() as u64 + ENTRY_BYTES
}
