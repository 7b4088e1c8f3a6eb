//! One side's part in a migration: what it has read of the journal, and what it has written but not read back yet.

use std::collections::VecDeque;

use crate::protocol::record::{MigrationTag, Record, Role};
use crate::protocol::step::Action;
use crate::protocol::verdict::JournalView;

/// Reading and writing of one side.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Membership {
    role: Role,
    pub(crate) view: JournalView,
    /// Written and not read back; bounded by the window and a few control records.
    unread: VecDeque<Record>,
    /// After a reconnect: nothing may be done before this REJOINED is read back.
    barrier: Option<u32>,
    reconnects: u32,
}

impl Membership {
    pub(crate) fn new(role: Role, tag: MigrationTag) -> Self {
        Self { role, view: JournalView::new(tag), unread: VecDeque::new(), barrier: None, reconnects: 0 }
    }

    /// Writes. What matters is when it is read back.
    pub(crate) fn append(&mut self, record: Record, out: &mut Vec<Action>) {
        self.unread.push_back(record.clone());
        out.push(Action::Append(record));
    }

    /// Takes the journal's next record; returns whether it counts.
    pub(crate) fn read(&mut self, record: &Record) -> bool {
        if self.unread.front() == Some(record) {
            self.unread.pop_front();
        }
        if let Record::Rejoined { role, count } = record
            && *role == self.role
            && self.barrier == Some(*count)
        {
            self.barrier = None;
        }
        self.view.read(record)
    }

    /// Whether a record of this kind is on its way.
    pub(crate) fn awaits(&self, kind: impl Fn(&Record) -> bool) -> bool {
        self.unread.iter().any(kind)
    }

    /// After a reconnect: what may have been lost is written again (readers ignore repetitions), then the barrier.
    pub(crate) fn reconnected(&mut self, out: &mut Vec<Action>) {
        self.unread.retain(|record| !matches!(record, Record::Rejoined { .. }));
        out.extend(self.unread.iter().cloned().map(Action::Append));
        self.reconnects += 1;
        self.barrier = Some(self.reconnects);
        self.append(Record::Rejoined { role: self.role, count: self.reconnects }, out);
    }

    /// Whether this side has read everything that came before it was last connected.
    pub(crate) fn is_current(&self) -> bool {
        self.barrier.is_none()
    }
}
