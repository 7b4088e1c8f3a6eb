//! Acknowledgements that are due: cumulative, so that only the last one matters.

/// What is due on the present subscription.
#[derive(Debug)]
pub(super) struct Acks {
    /// Sent after so many at the latest, so that the broker's window does not run dry.
    every: u16,
    due: Option<u64>,
    count: u16,
}

impl Acks {
    pub(super) fn new(window: u16) -> Self {
        Self { every: (window / 4).clamp(1, 256), due: None, count: 0 }
    }

    /// Notes one.
    pub(super) fn note(&mut self, tag: u64) {
        self.due = Some(tag);
        self.count = self.count.saturating_add(1);
    }

    /// Whether it is time to send.
    pub(super) fn are_due(&self) -> bool {
        self.count >= self.every
    }

    /// What has to be sent now.
    pub(super) fn take(&mut self) -> Option<u64> {
        self.count = 0;
        self.due.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_of_a_batch_is_sent() {
        let mut acks = Acks::new(12);
        (1..=2).for_each(|tag| acks.note(tag));
        assert!(!acks.are_due());
        acks.note(3);
        assert!(acks.are_due());
        assert_eq!((acks.take(), acks.take()), (Some(3), None));
        let mut single = Acks::new(1);
        single.note(1);
        assert!(single.are_due(), "a window of one lives on every ack");
    }
}
