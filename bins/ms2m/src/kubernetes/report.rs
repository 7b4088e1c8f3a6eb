//! `ms2m report`: what became of a migration.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use kube::ResourceExt as _;
use ms2m_core::{Error, ErrorKind, MigrationReport, Result};
use ms2m_k8s::api::StatefulMigration;

use super::args::{ReportArgs, ReportOutput};
use super::client::{connect, migrations, refused};
use super::follow::is_refused;
use super::list::told;
use crate::exit::Exit;
use crate::migrate::report_text;

pub(super) async fn report(args: &ReportArgs) -> Result<Exit> {
    let migrations = migrations(&connect(&args.cluster).await?);
    let migration = migrations.get(&args.migration).await.map_err(refused("look at the migration"))?;
    let report = finished(&migration)?.ok_or_else(|| {
        if let Some(status) = migration.status.as_ref().filter(|status| is_refused(status)) {
            let message = format!("the migration was refused, so there is no report: {}", status.message.as_deref().unwrap_or_default());
            return Error::fatal(ErrorKind::Invalid, message).with("migration", &args.migration);
        }
        let message = "the migration has not ended yet; `ms2m describe` says how it stands";
        Error::fatal(ErrorKind::Invalid, message).with("migration", &args.migration)
    })?;
    let text = match args.output {
        ReportOutput::Text => format!("{}\n{}", title(&migration), report_text(&report)),
        ReportOutput::Json => {
            let odd = |error| Error::fatal(ErrorKind::Other, "the report has no JSON").caused_by(error);
            serde_json::to_string_pretty(&report).map_err(odd)? + "\n"
        }
        ReportOutput::Md => format!("# {}\n\n{}", title(&migration), markdown(&report)),
        ReportOutput::Svg => picture(&report),
    };
    told(io::stdout().lock().write_all(text.as_bytes()))
}

/// By the names that people know; the report has the UID.
fn title(migration: &StatefulMigration) -> String {
    let status = migration.status.clone().unwrap_or_default();
    let at = |pod: &str, node: Option<String>| node.map_or_else(|| pod.to_owned(), |node| format!("{pod} on {node}"));
    let source = at(&migration.spec.source_pod, status.source_node);
    let copy = status.target_pod.map_or_else(|| "no copy".to_owned(), |pod| at(&pod, status.target_node));
    format!("{}: {source} -> {copy}", migration.name_any())
}

/// The report, if it has ended.
pub(super) fn finished(migration: &StatefulMigration) -> Result<Option<MigrationReport>> {
    let report = migration.status.as_ref().and_then(|status| status.report.clone());
    report.map(serde_json::from_value).transpose().map_err(|error| {
        let message = "the migration's report is not understood; use the ms2m of the controller's release";
        Error::fatal(ErrorKind::Unsupported, message).caused_by(error)
    })
}

/// Milestones with the time since the one before.
fn steps(report: &MigrationReport) -> Vec<(String, f64, f64)> {
    let mut before = 0.0;
    let mut step = |event: String, at_ms: f64| {
        let took = at_ms - before;
        before = at_ms;
        (event, at_ms, took)
    };
    report.timeline.iter().map(|entry| step(entry.event.to_string(), entry.at_ms)).collect()
}

fn markdown(report: &MigrationReport) -> String {
    let mut text = format!("{}: {:?}", report.id, report.outcome);
    if let Some(reason) = &report.reason {
        let _ = write!(text, ": {reason}");
    }
    text.push_str("\n\n| reached | at, ms | after, ms |\n|---|---|---|\n");
    for (event, at_ms, took) in steps(report) {
        let _ = writeln!(text, "| {event} | {at_ms:.1} | {took:.1} |");
    }
    let ledger = &report.ledger.journal;
    let _ = writeln!(text, "\n| applied by the source | journaled | replayed | applied by the copy |\n|---|---|---|---|");
    let counts = [ledger.applied_by_source, ledger.journaled, ledger.replayed, ledger.applied_by_target];
    let counts = counts.map(|count| format!("{count}")).join(" | ");
    let _ = writeln!(text, "| {counts} |");
    text
}

const WIDTH: f64 = 900.0;
const LEFT: f64 = 130.0;
const ROW: f64 = 28.0;
const COLOURS: [&str; 4] = ["#4878a8", "#6aa84f", "#cc8844", "#8866aa"];

/// A bar for each step, under one another, on one scale.
fn picture(report: &MigrationReport) -> String {
    let steps: Vec<_> = steps(report).into_iter().skip(1).collect();
    let total = steps.last().map_or(1.0, |(_, at_ms, _)| at_ms.max(1.0));
    let (height, scale) = (ROW * (steps.len() as f64 + 2.0), (WIDTH - LEFT - 110.0) / total);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"8\" y=\"19\">{}, {total:.0} ms</text>\n",
        report.id
    );
    for (row, (event, at_ms, took)) in steps.iter().enumerate() {
        let (y, x, width) = (ROW * (row as f64 + 1.0), LEFT + (at_ms - took) * scale, (took * scale).max(1.0));
        let colour = COLOURS[row % COLOURS.len()];
        let _ = write!(
            svg,
            "<text x=\"8\" y=\"{:.1}\">{event}</text>\n<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{took:.1} ms</text>\n",
            y + 18.0,
            y + 5.0,
            ROW - 10.0,
            x + width + 6.0,
            y + 18.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> MigrationReport {
        serde_json::from_value(serde_json::json!({
            "id": "m-1", "outcome": "completed", "reason": null, "phase_reached": "Completed", "checkpoint_source": "runtime",
            "transfer_backend": "direct", "restore_target": "runtime", "protocol": "journal", "bytes": {"archive": 1, "transferred": 1},
            "durations_ms": {"freeze": 1.0, "total": 100.0},
            "ledger": {"published": null, "applied_by_source": 5, "journaled": 2, "replayed": 2, "applied_by_target": 1, "lost": null,
                "doubled": null, "reordered": null, "digest_source": null, "digest_target": null, "exact": false},
            "timeline": [{"event": "begun", "at_ms": 0.0}, {"event": "frozen", "at_ms": 40.0}, {"event": "finished", "at_ms": 100.0}],
        }))
        .unwrap()
    }

    #[test]
    fn a_page_has_a_row_for_each_milestone() {
        let page = markdown(&report());
        assert!(page.contains("| frozen | 40.0 | 40.0 |\n| finished | 100.0 | 60.0 |"), "{page}");
        assert!(page.contains("| 5 | 2 | 2 | 1 |"), "{page}");
    }

    #[test]
    fn the_picture_has_a_bar_for_each_step_on_one_scale() {
        let svg = picture(&report());
        assert_eq!(svg.matches("<rect").count(), 3, "{svg}");
        assert!(svg.contains("x=\"130.0\" y=\"33.0\" width=\"264.0\"") && svg.contains("x=\"394.0\" y=\"61.0\" width=\"396.0\""), "{svg}");
    }
}
