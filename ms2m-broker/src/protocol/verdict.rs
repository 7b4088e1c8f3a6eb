//! The verdict: who owns the queue, as a function of the journal's records in their order.
//!
//! - ABORT counts only before END; END only after READY and without ABORT.
//! - After END the first of TAKEN (copy) and TAKEBACK (source or controller) counts.
//! - FENCE counts as END and TAKEN in one, unless ABORT or END came first.
//!
//! A record that does not count changes nothing, so every reader comes to the same verdict whatever was written in vain.

use ms2m_core::Digest;

use crate::protocol::record::{Begin, End, Joined, MigrationTag, Record, Role};

/// Who may apply messages from the primary queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// The source; also after ABORT or TAKEBACK.
    Source,
    /// The source has stopped at END; the copy has not taken the queue yet.
    Undecided,
    /// The copy.
    Copy,
}

/// What has been read of a journal so far.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct JournalView {
    tag: MigrationTag,
    /// The migration this journal belongs to.
    pub begin: Option<Begin>,
    /// The source takes part.
    pub joined: Option<Joined>,
    /// PARK was asked for.
    pub park: bool,
    /// Where the source parked.
    pub parked: Option<(u64, Digest)>,
    /// RESUME was given.
    pub resume: bool,
    /// The last message known to be applied by the source.
    pub source_n: u64,
    /// The source's digest there, once it has said one.
    pub source_digest: Option<Digest>,
    /// How many messages the journal holds.
    pub journaled: u64,
    /// Name of the copy's connection once it has joined.
    pub copy_connection: Option<String>,
    /// Where the checkpoint stood.
    pub checkpoint_n: u64,
    /// The last message known to be applied by the copy.
    pub copy_n: u64,
    /// First own message of the copy: applied at, available at (microseconds since the Unix epoch).
    pub first_applied: Option<(u64, u64)>,
    /// READY was said.
    pub ready: bool,
    /// HANDOVER was asked for.
    pub hand_over: bool,
    /// FAILOVER was asked for.
    pub fail_over: bool,
    /// The END that counts.
    pub end: Option<End>,
    /// The FENCE that counts: the last number journaled before it.
    pub fence: Option<u64>,
    /// The TAKEN that counts, or the FENCE of a copy that stood where the source had: the copy's digest.
    pub taken: Option<Digest>,
    /// The ABORT or TAKEBACK that counts: why.
    pub aborted: Option<String>,
    /// The copy's refusal.
    pub rejected: Option<String>,
    /// RETIRE was asked for.
    pub retire: bool,
    /// The source works without the journal, or is done.
    pub source_left: bool,
    /// So does the copy.
    pub copy_left: bool,
}

impl JournalView {
    /// Of a journal that nothing has been read of.
    #[must_use]
    pub fn new(tag: MigrationTag) -> Self {
        Self {
            tag,
            begin: None,
            joined: None,
            park: false,
            parked: None,
            resume: false,
            source_n: 0,
            source_digest: None,
            journaled: 0,
            copy_connection: None,
            checkpoint_n: 0,
            copy_n: 0,
            first_applied: None,
            ready: false,
            hand_over: false,
            fail_over: false,
            end: None,
            fence: None,
            taken: None,
            aborted: None,
            rejected: None,
            retire: false,
            source_left: false,
            copy_left: false,
        }
    }

    /// The migration's tag.
    #[must_use]
    pub fn tag(&self) -> MigrationTag {
        self.tag
    }

    /// Who owns the queue.
    #[must_use]
    pub fn owner(&self) -> Owner {
        if self.fence.is_some() || self.taken.is_some() {
            Owner::Copy
        } else if self.aborted.is_some() || self.end.is_none() {
            Owner::Source
        } else {
            Owner::Undecided
        }
    }

    fn source_stands_at(&mut self, n: u64, digest: Digest) {
        if n >= self.source_n {
            self.source_n = n;
            self.source_digest = Some(digest);
        }
    }

    /// Whether the source has to stay parked.
    #[must_use]
    pub fn parks_source(&self) -> bool {
        self.park && !self.resume && self.aborted.is_none()
    }

    /// Whether nobody can change the verdict any more.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.aborted.is_some() || self.owner() == Owner::Copy
    }

    /// Takes the next record. Returns whether it counts.
    pub fn read(&mut self, record: &Record) -> bool {
        let undecided = !self.is_decided();
        match record {
            Record::Begin(begin) => self.begin.is_none() && replace(&mut self.begin, begin),
            Record::Joined(joined) => {
                let counts = self.joined.is_none();
                if counts {
                    self.joined = Some(joined.clone());
                    self.source_n = joined.n;
                }
                counts
            }
            Record::Park => set(&mut self.park, undecided),
            Record::Parked { n, digest } => {
                self.source_stands_at(*n, *digest);
                self.parked.is_none() && replace(&mut self.parked, &(*n, *digest))
            }
            Record::Resume => set(&mut self.resume, self.park),
            Record::Applied(applied) => {
                // After END, FENCE or ABORT the source writes in vain; a repetition after a reconnect is one as well.
                let counts = undecided && self.end.is_none() && applied.n > self.source_n;
                if counts {
                    self.source_stands_at(applied.n, applied.digest);
                    self.journaled += 1;
                }
                counts
            }
            Record::SourceProgress { n, digest } => {
                let counts = undecided && *n > self.source_n;
                if counts {
                    self.source_stands_at(*n, *digest);
                }
                counts
            }
            Record::CopyJoined { n, connection } => {
                // Another copy after one that failed starts from the same image and has to be READY by itself.
                let counts = undecided && self.end.is_none();
                if counts {
                    self.checkpoint_n = *n;
                    self.copy_n = *n;
                    self.ready = false;
                    self.rejected = None;
                    self.copy_connection = Some(connection.clone());
                }
                counts
            }
            Record::CopyProgress { n, first_applied_at_us, available_at_us } => {
                self.copy_n = self.copy_n.max(*n);
                if *first_applied_at_us > 0 {
                    self.first_applied.get_or_insert((*first_applied_at_us, *available_at_us));
                }
                true
            }
            Record::Ready { n } => {
                self.copy_n = self.copy_n.max(*n);
                set(&mut self.ready, undecided)
            }
            Record::HandOver => set(&mut self.hand_over, undecided),
            // After END it says no more than that nobody has to wait for the source to leave.
            Record::FailOver => set(&mut self.fail_over, self.aborted.is_none()),
            Record::End(end) => {
                let counts = undecided && self.end.is_none() && self.ready;
                if counts {
                    self.source_n = self.source_n.max(end.n);
                    self.end = Some(end.clone());
                }
                counts
            }
            Record::Fence { n, digest } => {
                let counts = undecided && self.end.is_none();
                if counts {
                    self.fence = Some(self.source_n);
                    // One that is still behind compares with each message that it replays.
                    self.taken = Some(*digest).filter(|_| *n == self.source_n);
                }
                counts
            }
            Record::Taken { digest, .. } => {
                let counts = self.owner() == Owner::Undecided;
                if counts {
                    self.taken = Some(*digest);
                }
                counts
            }
            Record::Abort { reason } => {
                let counts = undecided && self.end.is_none();
                if counts {
                    self.aborted = Some(reason.clone());
                }
                counts
            }
            Record::TakeBack { reason } => {
                let counts = self.owner() == Owner::Undecided;
                if counts {
                    self.aborted = Some(reason.clone());
                }
                counts
            }
            Record::Reject { reason } => self.rejected.is_none() && replace(&mut self.rejected, reason),
            Record::Retire => {
                let decided = self.is_decided();
                set(&mut self.retire, decided)
            }
            Record::Left { role: Role::Source, .. } => set(&mut self.source_left, true),
            Record::Left { role: Role::Copy, n } => {
                self.copy_n = self.copy_n.max(*n);
                set(&mut self.copy_left, true)
            }
            Record::Mark { .. } | Record::Rejoined { .. } | Record::Brake { .. } => true,
        }
    }
}

fn set(flag: &mut bool, counts: bool) -> bool {
    *flag |= counts;
    counts
}

fn replace<T: Clone>(slot: &mut Option<T>, value: &T) -> bool {
    *slot = Some(value.clone());
    true
}
