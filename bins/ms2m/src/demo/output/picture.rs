//! A migration as bars.

use std::fmt::Write as _;

use ms2m_core::{MigrationReport, Milestone};

const WIDTH: f64 = 44.0;

/// What happens between two milestones, in words. A chase's source serves all the while but for the first bar's freeze.
const STRETCHES: [(Milestone, &str); 7] = [
    (Milestone::Frozen, "getting ready"),
    (Milestone::Thawed, "snapshot taken (stands still)"),
    (Milestone::Transferred, "its state travels"),
    (Milestone::Restored, "the copy starts"),
    (Milestone::CaughtUp, "the copy catches up"),
    (Milestone::CutOver, "the queue changes hands"),
    (Milestone::Finished, "cleaning up"),
];

/// Several lines, each with its end.
pub(crate) fn picture(report: &MigrationReport) -> String {
    let total = report.timeline.last().map_or(0.0, |last| last.at_ms).max(f64::MIN_POSITIVE);
    let column = |at_ms: f64| (at_ms / total * WIDTH).round() as usize;
    let mut text = String::new();
    let mut from = 0.0;
    for entry in report.timeline.iter().skip(1) {
        let words = STRETCHES.iter().find(|(milestone, _)| *milestone == entry.event).map_or("", |(_, words)| words);
        let (start, end) = (column(from), column(entry.at_ms));
        let bar = if end > start { "█".repeat(end - start) } else { "▏".to_owned() };
        let padded = format!("{}{bar}", " ".repeat(start.min(WIDTH as usize - 1)));
        let _ = writeln!(text, "  {words:<30} {padded:<width$} {:>9.1} ms", entry.at_ms - from, width = WIDTH as usize + 1);
        from = entry.at_ms;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stretch_has_a_bar_within_the_width() {
        let timeline = [("begun", 0.0), ("frozen", 2.0), ("thawed", 2.01), ("transferred", 5.0), ("finished", 20.0)];
        let report: MigrationReport = serde_json::from_value(serde_json::json!({
            "id": "m-1", "outcome": "completed", "reason": null, "phase_reached": "Completed",
            "checkpoint_source": "a", "transfer_backend": "b", "restore_target": "c", "protocol": "journal",
            "bytes": { "archive": 1, "transferred": 1 },
            "durations_ms": { "freeze": 1.0, "checkpoint": null, "transfer": null, "restore": null, "replay": null,
                              "cutover_gap": null, "added_latency": null, "total": 20.0 },
            "ledger": { "published": null, "applied_by_source": 5, "journaled": 2, "replayed": 2, "applied_by_target": 4,
                        "lost": null, "doubled": null, "reordered": null,
                        "digest_source": null, "digest_target": null, "exact": false },
            "timeline": timeline.map(|(event, at_ms)| serde_json::json!({ "event": event, "at_ms": at_ms })),
        }))
        .unwrap();
        let text = picture(&report);
        assert_eq!(text.lines().count(), 4);
        assert!(text.lines().all(|line| line.ends_with(" ms") && line.chars().count() <= 100), "{text}");
        assert!(text.lines().all(|line| line.contains('█') || line.contains('▏')), "{text}");
    }
}
