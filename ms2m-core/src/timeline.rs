//! [`Timeline`]: when a migration reached its milestones, and what the figures between them mean.
//!
//! All times are the engine's own clock, at the moment at which it learned of the milestone; only the length of the freeze
//! is measured by whoever froze. Milestones may be missing (a migration that rolls back skips some), but none comes late.
//!
//! | figure | from | to | contains |
//! |---|---|---|---|
//! | [`freeze`](Timeline::freeze) | `frozen` | `thawed` | the container stands still, as measured by the checkpoint driver |
//! | [`transfer`](Timeline::transfer) | `thawed` | `transferred` | every byte readable at the target |
//! | [`restore`](Timeline::restore) | `transferred` | `restored` | the copy lives, parked |
//! | [`replay`](Timeline::replay) | `restored` | `caught_up` | the copy applies what the source did meanwhile |
//! | [`total`](Timeline::total) | `begun` | `finished` | everything, clean-up included |
//!
//! The cut-over gap is not among them: only the two consumers can measure it ([`CutOver::cutover_gap`](crate::CutOver)).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// What a migration passes, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Milestone {
    /// The migration was accepted.
    Begun,
    /// The container stands still. Placed at `thawed` minus the measured freeze.
    Frozen,
    /// The checkpoint call has returned; in Chase the source goes on.
    Thawed,
    /// The target has every byte.
    Transferred,
    /// The copy lives.
    Restored,
    /// The copy was seen ready to take over.
    CaughtUp,
    /// The queue was seen to have changed hands.
    CutOver,
    /// Nothing more happens.
    Finished,
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begun => "begun",
            Self::Frozen => "frozen",
            Self::Thawed => "thawed",
            Self::Transferred => "transferred",
            Self::Restored => "restored",
            Self::CaughtUp => "caught_up",
            Self::CutOver => "cut_over",
            Self::Finished => "finished",
        })
    }
}

/// A milestone and when it was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// What was reached.
    pub milestone: Milestone,
    /// When.
    pub at: Timestamp,
}

/// The milestones reached so far. There is always a first one, and both milestones and times only go forward.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Vec<Mark>", into = "Vec<Mark>")]
pub struct Timeline {
    marks: Vec<Mark>,
}

impl Timeline {
    /// A timeline that begins now.
    #[must_use]
    pub fn begun(at: Timestamp) -> Self {
        Self { marks: vec![Mark { milestone: Milestone::Begun, at }] }
    }

    /// Notes the next milestone.
    ///
    /// # Errors
    /// [`ErrorKind::Invariant`] when it does not come after the last one, in order or in time. Nothing is noted then.
    pub fn mark(&mut self, milestone: Milestone, at: Timestamp) -> Result<()> {
        let last = self.last();
        if milestone <= last.milestone || at < last.at {
            return Err(Error::fatal(ErrorKind::Invariant, format!("{milestone} cannot follow {} on the timeline", last.milestone))
                .with("at_us", at.as_micros())
                .with("last_us", last.at.as_micros()));
        }
        self.marks.push(Mark { milestone, at });
        Ok(())
    }

    /// The latest milestone.
    #[must_use]
    pub fn last(&self) -> Mark {
        self.marks[self.marks.len() - 1]
    }

    /// When a milestone was reached, if it was.
    #[must_use]
    pub fn at(&self, milestone: Milestone) -> Option<Timestamp> {
        self.marks.iter().find(|mark| mark.milestone == milestone).map(|mark| mark.at)
    }

    /// All marks in order.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The time between two milestones, if both were reached.
    #[must_use]
    pub fn between(&self, from: Milestone, to: Milestone) -> Option<Duration> {
        Some(self.at(to)?.since(self.at(from)?))
    }

    /// How long the container stood still.
    #[must_use]
    pub fn freeze(&self) -> Option<Duration> {
        self.between(Milestone::Frozen, Milestone::Thawed)
    }

    /// How long the checkpoint travelled.
    #[must_use]
    pub fn transfer(&self) -> Option<Duration> {
        self.between(Milestone::Thawed, Milestone::Transferred)
    }

    /// How long the restore took, with the calls around it.
    #[must_use]
    pub fn restore(&self) -> Option<Duration> {
        self.between(Milestone::Transferred, Milestone::Restored)
    }

    /// How long the copy took to catch up.
    #[must_use]
    pub fn replay(&self) -> Option<Duration> {
        self.between(Milestone::Restored, Milestone::CaughtUp)
    }

    /// From the first to the last moment.
    #[must_use]
    pub fn total(&self) -> Option<Duration> {
        self.between(Milestone::Begun, Milestone::Finished)
    }
}

impl TryFrom<Vec<Mark>> for Timeline {
    type Error = Error;

    fn try_from(marks: Vec<Mark>) -> Result<Self> {
        let mut rest = marks.into_iter();
        let begun = rest
            .next()
            .filter(|mark| mark.milestone == Milestone::Begun)
            .ok_or_else(|| Error::fatal(ErrorKind::Invalid, "a timeline starts with begun"))?;
        let mut timeline = Self::begun(begun.at);
        rest.try_for_each(|mark| timeline.mark(mark.milestone, mark.at))?;
        Ok(timeline)
    }
}

impl From<Timeline> for Vec<Mark> {
    fn from(timeline: Timeline) -> Self {
        timeline.marks
    }
}

/// One line for the log: `begun +0.0 ms, frozen +12.1 ms, …`.
impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begun = self.marks[0].at;
        for (i, mark) in self.marks.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{} +{:.1} ms", mark.milestone, mark.at.since(begun).as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn figures_are_the_time_between_their_milestones() {
        let mut timeline = Timeline::begun(us(1_000));
        for (milestone, at) in [
            (Milestone::Frozen, 2_000),
            (Milestone::Thawed, 2_500),
            (Milestone::Transferred, 4_000),
            (Milestone::Restored, 7_000),
            (Milestone::CaughtUp, 9_000),
            (Milestone::CutOver, 9_100),
            (Milestone::Finished, 12_000),
        ] {
            timeline.mark(milestone, us(at)).unwrap();
        }
        assert_eq!(timeline.freeze(), Some(Duration::from_micros(500)));
        assert_eq!(timeline.transfer(), Some(Duration::from_micros(1_500)));
        assert_eq!(timeline.restore(), Some(Duration::from_micros(3_000)));
        assert_eq!(timeline.replay(), Some(Duration::from_micros(2_000)));
        assert_eq!(timeline.total(), Some(Duration::from_micros(11_000)));
    }

    #[test]
    fn wrong_order_is_an_error_and_notes_nothing() {
        let mut timeline = Timeline::begun(us(10));
        timeline.mark(Milestone::Thawed, us(20)).unwrap();
        let before = timeline.clone();
        for (milestone, at) in [(Milestone::Frozen, 30), (Milestone::Thawed, 30), (Milestone::Restored, 19)] {
            let error = timeline.mark(milestone, us(at)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invariant);
        }
        assert_eq!(timeline, before);
        timeline.mark(Milestone::Restored, us(20)).unwrap();
        assert_eq!(timeline.transfer(), None, "a skipped milestone has no figures");
    }

    #[test]
    fn a_stored_timeline_is_checked_when_it_is_read() {
        let read = |json: &str| serde_json::from_str::<Timeline>(json);
        assert!(read(r#"[{"milestone":"begun","at":5},{"milestone":"thawed","at":6}]"#).is_ok());
        assert!(read(r#"[{"milestone":"begun","at":5},{"milestone":"thawed","at":4}]"#).is_err());
        assert!(read(r#"[{"milestone":"thawed","at":6}]"#).is_err());
        assert!(read("[]").is_err());
    }
}
