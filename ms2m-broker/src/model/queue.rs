//! The primary queue as RabbitMQ's classic and quorum queues and streams were measured to behave.

use std::collections::VecDeque;

use crate::link::QueueKind;

/// Index of a side: 0 is the source, 1 the copy.
pub(super) type Side = usize;

/// One consumer's channel at the broker.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Channel {
    next_tag: u64,
    /// Out with this consumer: tag, message.
    unacked: VecDeque<(u64, u8)>,
    /// Sent and not seen by the client yet: tag, message, redelivered.
    pub(super) in_flight: VecDeque<(u64, u8, bool)>,
    cancelled: bool,
    order: u32,
    /// Streams: the next message to send.
    cursor: u8,
}

/// The queue with its consumers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Queue {
    kind: QueueKind,
    single_active: bool,
    window: usize,
    ready: VecDeque<(u8, bool)>,
    pub(super) channels: [Option<Channel>; 2],
    /// Quorum: channels whose close was answered and whose messages have not come back yet.
    closing: VecDeque<Channel>,
    registrations: u32,
    acked: u8,
    published: u8,
}

impl Queue {
    pub(super) fn new(kind: QueueKind, single_active: bool, window: usize) -> Self {
        Self {
            kind,
            single_active,
            window,
            ready: VecDeque::new(),
            channels: [None, None],
            closing: VecDeque::new(),
            registrations: 0,
            acked: 0,
            published: 0,
        }
    }

    pub(super) fn publish(&mut self, message: u8) {
        self.published += 1;
        if self.kind != QueueKind::Stream {
            self.ready.push_back((message, false));
        }
        self.deliver();
    }

    pub(super) fn subscribe(&mut self, side: Side, from_offset: Option<u64>) {
        let cursor = from_offset.map_or(0, |offset| u8::try_from(offset).expect("a small log"));
        self.registrations += 1;
        self.channels[side] = Some(Channel { order: self.registrations, next_tag: 1, cursor, ..Channel::default() });
        self.deliver();
    }

    pub(super) fn acknowledge(&mut self, side: Side, tag: u64) {
        if let Some(channel) = &mut self.channels[side] {
            while channel.unacked.front().is_some_and(|(open, _)| *open <= tag) {
                channel.unacked.pop_front();
                self.acked += 1;
            }
        }
        self.deliver();
    }

    /// `basic.cancel`: the next consumer is served although messages are still out. A quorum queue may check one more
    /// message out to the cancelled consumer, and sends it to nobody.
    pub(super) fn cancel(&mut self, side: Side) {
        let ghost = if self.kind == QueueKind::Quorum { self.ready.pop_front() } else { None };
        if let Some(channel) = &mut self.channels[side] {
            channel.cancelled = true;
            if let Some((message, _)) = ghost {
                channel.unacked.push_back((channel.next_tag, message));
            }
        }
        self.deliver();
    }

    /// Channel or connection gone. A clean close of a quorum queue's channel is answered before the messages are back.
    pub(super) fn close(&mut self, side: Side, clean: bool) {
        let Some(channel) = self.channels[side].take() else { return };
        if clean && self.kind == QueueKind::Quorum {
            self.closing.push_back(channel);
        } else {
            self.give_back(&channel);
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// The quorum queue learns that a channel is gone.
    pub(super) fn finish_close(&mut self) {
        if let Some(channel) = self.closing.pop_front() {
            self.give_back(&channel);
        }
    }

    fn give_back(&mut self, channel: &Channel) {
        if self.kind == QueueKind::Stream {
            return;
        }
        if self.kind == QueueKind::Quorum {
            for (_, message) in channel.unacked.iter().rev() {
                self.ready.push_front((*message, true));
            }
        } else {
            for (_, message) in &channel.unacked {
                let at = self.ready.iter().position(|(ready, _)| ready > message).unwrap_or(self.ready.len());
                self.ready.insert(at, (*message, true));
            }
        }
        self.deliver();
    }

    pub(super) fn consumers(&self) -> usize {
        self.channels.iter().flatten().filter(|channel| !channel.cancelled).count() + self.closing.len()
    }

    pub(super) fn all_acknowledged(&self, published: u8) -> bool {
        self.acked == published || self.kind == QueueKind::Stream
    }

    /// Brokers push as soon as they can.
    fn deliver(&mut self) {
        if self.kind == QueueKind::Stream {
            for channel in self.channels.iter_mut().flatten() {
                while channel.cursor < self.published && channel.unacked.len() < self.window {
                    channel.unacked.push_back((channel.next_tag, channel.cursor));
                    channel.in_flight.push_back((channel.next_tag, channel.cursor, false));
                    channel.next_tag += 1;
                    channel.cursor += 1;
                }
            }
            return;
        }
        loop {
            let candidates = self.channels.iter_mut().flatten().filter(|channel| !channel.cancelled);
            // With single active consumer the oldest registration is served, and one that is being closed blocks the next.
            let served = if self.single_active {
                if self.closing.iter().any(|channel| !channel.cancelled) { None } else { candidates.min_by_key(|channel| channel.order) }
            } else {
                candidates.filter(|channel| channel.unacked.len() < self.window).min_by_key(|channel| channel.next_tag)
            };
            let Some(channel) = served.filter(|channel| channel.unacked.len() < self.window) else { return };
            let Some((message, redelivered)) = self.ready.pop_front() else { return };
            channel.unacked.push_back((channel.next_tag, message));
            channel.in_flight.push_back((channel.next_tag, message, redelivered));
            channel.next_tag += 1;
        }
    }
}
