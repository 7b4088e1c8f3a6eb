//! What comes from the primary queue: deliveries that wait, duplicates that are recognised, acknowledgements that fall due.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::message::{Message, MessageKey};
use crate::protocol::rules::{Rule, Rules};
use crate::protocol::step::Delivered;

/// The last W numbers and keys, in the order of application: what a broker may deliver again.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Window {
    size: usize,
    keys: VecDeque<(u64, MessageKey)>,
}

impl Window {
    pub(crate) fn new(size: usize) -> Self {
        Self { size, keys: VecDeque::new() }
    }

    pub(crate) fn resized(mut self, size: usize) -> Self {
        self.size = size;
        self.trim();
        self
    }

    pub(crate) fn push(&mut self, n: u64, key: MessageKey) {
        self.keys.push_back((n, key));
        self.trim();
    }

    fn trim(&mut self) {
        while self.keys.len() > self.size {
            self.keys.pop_front();
        }
    }
}

/// A delivery that waits to be applied.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Pending {
    /// `None`: it came with END, and the queue has not delivered it here yet.
    pub(crate) tag: Option<u64>,
    pub(crate) key: MessageKey,
    pub(crate) message: Message,
    /// Whether it came with END: then it is ours to apply, whether or not the queue delivers it here as well.
    pub(crate) inherited: bool,
    /// Its number, where the queue itself numbers (streams).
    pub(crate) n: Option<u64>,
}

/// The state of one consumer towards its primary queue.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Intake {
    rules: Rules,
    window: Window,
    /// Position in the window from which content keys may match: redeliveries come in the order of application.
    cursor: u64,
    pending: VecDeque<Pending>,
    /// Delivered and not acknowledged, by growing tag; with its number once it is applied or recognised.
    open: VecDeque<(u64, Option<u64>)>,
}

impl Intake {
    pub(crate) fn new(window: Window, rules: Rules) -> Self {
        let size = window.size - usize::from(!rules.hold(Rule::FullWindow));
        Self { rules, window: window.resized(size), cursor: 0, pending: VecDeque::new(), open: VecDeque::new() }
    }

    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    pub(crate) fn pending(&self) -> &VecDeque<Pending> {
        &self.pending
    }

    /// Takes a delivery in. `n` is its number where the queue itself numbers.
    pub(crate) fn deliver(&mut self, delivered: &Delivered, n: Option<u64>) {
        let Delivered { tag, redelivered, message, .. } = delivered;
        let key = message.key();
        let known = if *redelivered && n.is_none() && self.rules.hold(Rule::Dedupe) { self.recognise(key) } else { None };
        self.open.push_back((*tag, known));
        if known.is_some() {
            return;
        }
        let inherited = |pending: &&mut Pending| pending.inherited && pending.tag.is_none() && pending.key == key;
        match self.pending.iter_mut().find(inherited).filter(|_| *redelivered) {
            Some(pending) => pending.tag = Some(*tag),
            None => self.pending.push_back(Pending { tag: Some(*tag), key, message: message.clone(), inherited: false, n }),
        }
    }

    /// Takes a delivery in that was applied long ago: only its acknowledgement is due.
    pub(crate) fn skip(&mut self, tag: u64) {
        self.open.push_back((tag, Some(0)));
    }

    /// The number under which a redelivered key was applied. Unique keys match anywhere; keys made of content only in order,
    /// each once, because equal content may be another message.
    fn recognise(&mut self, key: MessageKey) -> Option<u64> {
        let from = if key.is_unique() { 0 } else { self.cursor };
        let (n, _) = *self.window.keys.iter().find(|(n, known)| *n > from && *known == key)?;
        if !key.is_unique() {
            self.cursor = n;
        }
        Some(n)
    }

    /// Puts messages that came with END before everything else that is new.
    pub(crate) fn inherit(&mut self, next: &[Message]) {
        for message in next.iter().rev() {
            self.pending.push_front(Pending { tag: None, key: message.key(), message: message.clone(), inherited: true, n: None });
        }
    }

    /// The next message to apply. Its number is its own, or `n`.
    pub(crate) fn take(&mut self, n: u64) -> Option<(u64, Pending)> {
        let next = self.pending.pop_front()?;
        let n = next.n.unwrap_or(n);
        self.window.push(n, next.key);
        if let Some(tag) = next.tag
            && let Ok(at) = self.open.binary_search_by_key(&tag, |(open, _)| *open)
        {
            self.open[at].1 = Some(n);
        }
        Some((n, next))
    }

    /// Notes a message applied from the journal.
    pub(crate) fn replayed(&mut self, n: u64, key: MessageKey) {
        self.window.push(n, key);
    }

    /// The tag up to which everything can be acknowledged once all effects up to `flushed` are out.
    pub(crate) fn acknowledge(&mut self, flushed: u64) -> Option<u64> {
        let mut last = None;
        while let Some((tag, Some(n))) = self.open.front().copied() {
            if n > flushed {
                break;
            }
            last = Some(tag);
            self.open.pop_front();
        }
        last
    }

    /// The channel is gone: what was not acknowledged will come again.
    pub(crate) fn reset(&mut self) {
        self.cursor = 0;
        self.open.clear();
        self.pending.retain(|pending| pending.inherited);
        for pending in &mut self.pending {
            pending.tag = None;
        }
    }

    /// The consumer has left for good: nothing that was waiting will be applied here.
    pub(crate) fn abandon(&mut self) {
        self.reset();
        self.pending.clear();
    }
}
