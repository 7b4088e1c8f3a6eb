//! Counts what passes, and says when a fault is due.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use super::faults::{Cut, CutEnd, Direction, Faults, Often};

/// What has passed through a relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Passed {
    /// Connections accepted.
    pub connections: u64,
    /// Bytes from clients to the server.
    pub to_server_bytes: u64,
    /// Bytes from the server to clients.
    pub to_client_bytes: u64,
    /// Connections that a [`Cut`] has ended.
    pub cuts: u64,
}

/// What becomes of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Admitted {
    /// So much of it passes now; the rest is lost when the connection ends, and waits when there is a stall.
    pub(super) bytes: usize,
    /// Not before.
    pub(super) due: Instant,
    /// Then the connection ends.
    pub(super) cut: Option<CutEnd>,
    /// Nothing passes now; asked again later.
    pub(super) stalled: bool,
}

#[derive(Debug)]
pub(super) struct Meter(Mutex<State>);

#[derive(Debug)]
struct State {
    faults: Faults,
    random: StdRng,
    passed: Passed,
    /// Counted bytes until the next cut, and until the stall.
    cut_in: Option<u64>,
    stall_in: Option<u64>,
    /// When each direction has sent what it was given, at the limited rate.
    free_at: [Instant; 2],
}

impl Meter {
    pub(super) fn new(faults: Faults) -> Self {
        let mut state = State {
            random: StdRng::seed_from_u64(faults.seed),
            faults: Faults::default(),
            passed: Passed::default(),
            cut_in: None,
            stall_in: None,
            free_at: [Instant::now(); 2],
        };
        state.set(faults);
        Self(Mutex::new(state))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, faults: Faults) {
        self.lock().set(faults);
    }

    pub(super) fn end_stall(&self) {
        let mut state = self.lock();
        state.faults.stall = None;
        state.stall_in = None;
    }

    pub(super) fn connected(&self) {
        self.lock().passed.connections += 1;
    }

    pub(super) fn passed(&self) -> Passed {
        self.lock().passed
    }

    /// Asks for a piece of so many bytes that has come in this direction, which is never [`Direction::Either`].
    pub(super) fn admit(&self, direction: Direction, bytes: usize) -> Admitted {
        self.lock().admit(direction, bytes)
    }
}

impl State {
    fn set(&mut self, faults: Faults) {
        self.random = StdRng::seed_from_u64(faults.seed);
        self.stall_in = faults.stall.map(|(_, bytes)| bytes);
        self.faults = faults;
        self.draw_cut();
    }

    fn draw_cut(&mut self) {
        self.cut_in = self.faults.cut.as_ref().map(|cut| self.random.random_range(cut.bytes.clone()).max(1));
    }

    fn admit(&mut self, direction: Direction, bytes: usize) -> Admitted {
        let now = Instant::now();
        if self.stall_in == Some(0) {
            return Admitted { bytes: 0, due: now, cut: None, stalled: true };
        }
        let counts = |counted: Direction| counted == direction || counted == Direction::Either;
        let mut pass = bytes as u64;
        if let (Some((counted, _)), Some(left)) = (self.faults.stall, &mut self.stall_in)
            && counts(counted)
        {
            pass = pass.min(*left);
            *left -= pass;
        }
        let mut end = None;
        if let (Some(Cut { direction: counted, often, end: how, .. }), Some(left)) = (&self.faults.cut, &mut self.cut_in)
            && counts(*counted)
        {
            pass = pass.min(*left);
            *left -= pass;
            if *left == 0 {
                end = Some(*how);
                match often {
                    Often::Once => self.cut_in = None,
                    Often::Always => self.draw_cut(),
                }
            }
        }
        self.passed.cuts += u64::from(end.is_some());
        let which = match direction {
            Direction::ToClient => {
                self.passed.to_client_bytes += pass;
                1
            }
            Direction::ToServer | Direction::Either => {
                self.passed.to_server_bytes += pass;
                0
            }
        };
        let mut due = now + self.faults.delay;
        if let Some(rate) = self.faults.bytes_per_second {
            self.free_at[which] = self.free_at[which].max(now) + Duration::from_nanos(pass.saturating_mul(1_000_000_000) / rate.max(1));
            due += self.free_at[which] - now;
        }
        Admitted { bytes: usize::try_from(pass).unwrap_or(bytes), due, cut: end, stalled: false }
    }
}
