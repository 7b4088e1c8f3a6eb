//! [`Summary`]: many reports in one object.

use serde::{Deserialize, Serialize};

use crate::report::{MigrationReport, Outcome};

/// Percentiles in milliseconds, null without a single value. `max` is exact; the others are at most 1/128 above the truth.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of the values are not larger.
    pub p50: Option<f64>,
    /// 99 of 100 values are not larger.
    pub p99: Option<f64>,
    /// The largest value.
    pub max: Option<f64>,
}

/// What came of many migrations.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// How many.
    pub migrations: u64,
    /// Of these completed.
    pub completed: u64,
    /// Of these rolled back, cancelled ones included.
    pub rolled_back: u64,
    /// Of these never begun.
    pub failed: u64,
    /// Messages lost in all audited migrations.
    pub lost: u64,
    /// Messages doubled in all audited migrations.
    pub doubled: u64,
    /// Messages reordered in all audited migrations.
    pub reordered: u64,
    /// Whether there was a migration and every single one was proven exact.
    pub exact: bool,
    /// Cut-over gaps of those that have one.
    pub cutover_gap_ms: Percentiles,
    /// Total times of those that completed.
    pub total_ms: Percentiles,
}

/// Adds reports up in constant memory (two histograms of 58 KiB), however many there are.
#[derive(Clone, Debug, Default)]
pub struct SummaryBuilder {
    counts: Summary,
    exact: u64,
    gaps: Histogram,
    totals: Histogram,
}

impl SummaryBuilder {
    /// Adds one report. Audit it first.
    pub fn add(&mut self, report: &MigrationReport) {
        let counts = &mut self.counts;
        counts.migrations += 1;
        match report.outcome {
            Outcome::Completed => counts.completed += 1,
            Outcome::RolledBack | Outcome::Cancelled => counts.rolled_back += 1,
            Outcome::Failed => counts.failed += 1,
        }
        counts.lost += report.ledger.lost.unwrap_or(0);
        counts.doubled += report.ledger.doubled.unwrap_or(0);
        counts.reordered += report.ledger.reordered.unwrap_or(0);
        self.exact += u64::from(report.ledger.exact);
        if let Some(gap) = report.durations_ms.cutover_gap {
            self.gaps.add(gap);
        }
        if let (Outcome::Completed, Some(total)) = (report.outcome, report.durations_ms.total) {
            self.totals.add(total);
        }
    }

    /// Everything added so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let migrations = self.counts.migrations;
        Summary {
            exact: migrations > 0 && self.exact == migrations,
            cutover_gap_ms: self.gaps.percentiles(),
            total_ms: self.totals.percentiles(),
            ..self.counts
        }
    }
}

/// Bits of a value kept below its highest one.
const KEPT_BITS: u32 = 7;
/// Enough for every u64.
const BUCKETS: usize = ((64 - KEPT_BITS + 1) << KEPT_BITS) as usize;

/// A log-linear histogram over microseconds: 128 buckets per power of two.
#[derive(Clone, Debug)]
struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_ms: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max_ms: 0.0 }
    }
}

impl Histogram {
    fn add(&mut self, value_ms: f64) {
        // A cast saturates, and turns what is no number into 0.
        let us = (value_ms * 1e3).ceil() as u64;
        self.buckets[bucket(us)] += 1;
        self.count += 1;
        self.max_ms = self.max_ms.max(value_ms);
    }

    /// Nearest rank, rounded up to the end of its bucket, but never above the largest value.
    fn percentile(&self, percent: u64) -> Option<f64> {
        let rank = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        let at = self.buckets.iter().position(|count| {
            seen += count;
            rank > 0 && seen >= rank
        })?;
        Some((largest_in(at) as f64 / 1e3).min(self.max_ms))
    }

    fn percentiles(&self) -> Percentiles {
        Percentiles { p50: self.percentile(50), p99: self.percentile(99), max: (self.count > 0).then_some(self.max_ms) }
    }
}

fn bucket(us: u64) -> usize {
    let shift = (64 - KEPT_BITS - 1).saturating_sub(us.leading_zeros());
    ((u64::from(shift) << KEPT_BITS) + (us >> shift)) as usize
}

fn largest_in(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket >> KEPT_BITS).saturating_sub(1);
    let kept = bucket - (shift << KEPT_BITS);
    ((u128::from(kept) + 1) << shift).wrapping_sub(1).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_falls_into_it_and_is_narrow() {
        let mut values: Vec<u64> = (0..100_000).collect();
        values.extend((17..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 12_345]));
        values.push(u64::MAX);
        for us in values {
            let end = largest_in(bucket(us));
            assert!(bucket(us) < BUCKETS);
            assert!(end >= us, "{us} lies above the end {end} of its bucket");
            assert!(end - us <= us / 128, "{us} is told as {end}");
            assert_eq!(bucket(end), bucket(us));
            assert!(end == u64::MAX || bucket(end + 1) == bucket(us) + 1);
        }
    }

    /// A report as a command prints it.
    fn report(outcome: &str, exact: bool, total: f64, gap: Option<f64>) -> MigrationReport {
        serde_json::from_value(serde_json::json!({
            "id": "m-1", "outcome": outcome, "reason": null, "phase_reached": "Completed",
            "checkpoint_source": "a", "transfer_backend": "b", "restore_target": "c", "protocol": "offset",
            "bytes": { "archive": 1, "transferred": 1 },
            "durations_ms": { "freeze": 1.0, "checkpoint": null, "transfer": null, "restore": null, "replay": null,
                              "cutover_gap": gap, "added_latency": null, "total": total },
            "ledger": { "published": 9, "applied_by_source": 5, "journaled": 2, "replayed": 2, "applied_by_target": 4,
                        "lost": u64::from(!exact), "doubled": 0, "reordered": 0,
                        "digest_source": null, "digest_target": null, "exact": exact },
            "timeline": [{ "event": "begun", "at_ms": 0.0 }, { "event": "finished", "at_ms": total }],
        }))
        .unwrap()
    }

    #[test]
    fn one_inexact_migration_spoils_the_summary() {
        let mut builder = SummaryBuilder::default();
        assert!(!builder.summary().exact, "nothing proves nothing");
        builder.add(&report("completed", true, 300.0, Some(4.0)));
        builder.add(&report("cancelled", true, 20.0, None));
        assert!(builder.summary().exact);
        builder.add(&report("rolled_back", true, 5_000.0, None));
        builder.add(&report("failed", false, 1.0, None));
        let summary = builder.summary();
        assert_eq!((summary.migrations, summary.completed, summary.rolled_back, summary.failed), (4, 1, 2, 1));
        assert_eq!((summary.lost, summary.exact), (1, false));
        assert_eq!(summary.total_ms.max, Some(300.0), "only what completed has a total time worth telling");
        assert_eq!(summary.cutover_gap_ms.p99, Some(4.0));
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentiles(), Percentiles::default());
        (1..=100).for_each(|value| histogram.add(f64::from(value) / 10.0));
        let Percentiles { p50, p99, max } = histogram.percentiles();
        assert!((p50.unwrap() - 5.0).abs() <= 5.0 / 128.0, "{p50:?}");
        assert!((p99.unwrap() - 9.9).abs() <= 9.9 / 128.0, "{p99:?}");
        assert_eq!(max, Some(10.0));
        let mut one = Histogram::default();
        one.add(0.0);
        assert_eq!(one.percentiles(), Percentiles { p50: Some(0.0), p99: Some(0.0), max: Some(0.0) });
    }
}
