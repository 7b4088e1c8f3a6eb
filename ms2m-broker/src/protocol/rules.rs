//! The rules that make the hand-over exact, by name, so that the model checker can switch off one at a time and show that it is needed.

/// One rule of the protocols.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rule {
    /// The source acknowledges, and lets effects out, only after it has read its record back from the journal.
    JournalBeforeAck,
    /// Deliveries that were applied before are recognised and not applied again.
    Dedupe,
    /// The window of recognised keys is as large as the broker's prefetch; switched off it is one smaller.
    FullWindow,
    /// The copy applies from the queue only after END or FENCE.
    LiveAfterVerdict,
    /// The source gives the queue up by closing its channel; switched off it cancels its consumer first.
    CloseNotCancel,
    /// Without single active consumer the copy comes onto the queue only after the source has left it and nobody consumes;
    /// switched off it comes at END, as if the broker arbitrated.
    QueueAfterLeave,
    /// The journal begins before the checkpoint; switched off the source begins to write with the first message after it has resumed.
    JournalBeforeCheckpoint,
    /// A copy that finds the source gone writes FENCE; switched off it waits for END.
    Fence,
    /// A source that takes back respects a TAKEN before its TAKEBACK.
    TakenWins,
    /// A copy acknowledges only after it has read its TAKEN back; switched off it does not wait for the verdict.
    TakenBeforeAck,
    /// A source that comes onto the queue, for the first time or again, waits until nobody consumes: neither the copy, nor another consumer,
    /// nor its own last channel.
    AloneOnQueue,
    /// ABORT before END wins; switched off the copy takes any END.
    AbortBeforeEndWins,
    /// The copy compares its digest with END's.
    CompareDigest,
}

/// Which rules hold: all of them, outside the model checker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Rules {
    #[cfg(any(test, feature = "mutations"))]
    without: Option<Rule>,
}

impl Rules {
    /// All rules but one. For the model checker.
    #[cfg(any(test, feature = "mutations"))]
    #[must_use]
    pub fn without(rule: Rule) -> Self {
        Self { without: Some(rule) }
    }

    /// Whether a rule holds.
    #[must_use]
    pub fn hold(self, rule: Rule) -> bool {
        #[cfg(any(test, feature = "mutations"))]
        return self.without != Some(rule);
        #[cfg(not(any(test, feature = "mutations")))]
        {
            let _ = rule;
            true
        }
    }
}
