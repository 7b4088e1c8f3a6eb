//! What the reports say.

use serde_json::Value;

const FIGURES: [&str; 7] = ["freeze", "checkpoint", "transfer", "restore", "replay", "cutover_gap", "total"];

/// One run's figures, and when it passed its milestones.
pub(crate) fn line(report: &Value) -> String {
    let figures = FIGURES.map(|name| format!("{name} {:.1}", report["durations_ms"][name].as_f64().unwrap_or(f64::NAN)));
    let passed = report["timeline"].as_array().into_iter().flatten();
    let passed: Vec<_> = passed
        .map(|mark| format!("{} {:.0}", mark["event"].as_str().unwrap_or_default(), mark["at_ms"].as_f64().unwrap_or(f64::NAN)))
        .collect();
    let (outcome, bytes) = (report["outcome"].as_str().unwrap_or_default(), &report["bytes"]["archive"]);
    format!("{outcome} {} ms, {bytes} bytes; {}", figures.join(", "), passed.join(", "))
}

/// Median and 99th percentile (the maximum below 100 runs) of all runs.
pub(crate) fn summary(reports: &[Value]) -> String {
    let figures = FIGURES.map(|name| {
        let mut all: Vec<_> = reports.iter().filter_map(|report| report["durations_ms"][name].as_f64()).collect();
        all.sort_by(f64::total_cmp);
        let at = |share: f64| all.get(((all.len() as f64 * share) as usize).min(all.len().saturating_sub(1))).copied().unwrap_or(f64::NAN);
        format!("{name} {:.1}/{:.1}", at(0.5), at(0.99))
    });
    format!("{} migrations, median/p99 in ms: {}", reports.len(), figures.join(", "))
}
