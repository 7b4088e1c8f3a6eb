//! Every run as a line of CSV, in the columns of the Go controller's evaluation first, to be compared with it.
//!
//! `MS2M_CSV` names the file; lines are appended.

use std::fs::OpenOptions;
use std::io::Write as _;

use serde_json::Value;

use crate::stage::{Setting, Workload};

const HEADER: &str = "run,msg_rate,configuration,total_time_s,checkpoint_s,transfer_s,restore_s,replay_s,finalize_s,status,\
    freeze_ms,cutover_gap_ms,ballast_mib,mode,archive_bytes,lost,doubled,reordered";

/// One move: its report, and that of the way home.
pub(crate) struct Run {
    pub(crate) reports: Vec<Value>,
}

/// Appends all runs of a setting. They were audited as a whole, so what was lost was lost somewhere in them: here nothing.
pub(crate) fn append(setting: &Setting, runs: &[Run]) {
    let Some(path) = std::env::var_os("MS2M_CSV") else { return };
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    if file.metadata().unwrap().len() == 0 {
        writeln!(file, "{HEADER}").unwrap();
    }
    for (number, run) in runs.iter().enumerate() {
        let Some(first) = run.reports.first() else { continue };
        writeln!(file, "{}", line(number + 1, setting, configuration(setting, first), std::slice::from_ref(first))).unwrap();
        if run.reports.len() > 1 {
            writeln!(file, "{}", line(number + 1, setting, "StatefulSet-ShadowPod-Swap", &run.reports)).unwrap();
        }
    }
}

fn configuration(setting: &Setting, report: &Value) -> &'static str {
    if report["restore_target"] == "image" {
        return "Deployment-Direct-Image";
    }
    match (setting.workload, setting.transfer) {
        (Workload::Deployment, "registry") => "Deployment-Registry",
        (Workload::Deployment, "shared-volume") => "Deployment-SharedVolume",
        (Workload::Deployment | Workload::DeploymentWithMore | Workload::DeploymentWithProbes | Workload::DeploymentOfSeveral, _) => {
            "Deployment-Direct"
        }
        (Workload::StatefulSet("sequential"), _) => "StatefulSet-Sequential",
        (Workload::StatefulSet(_), _) => "StatefulSet-ShadowPod",
    }
}

/// Of several moves one after the other: the sum of each part, and the longest gap.
fn line(number: usize, setting: &Setting, configuration: &str, reports: &[Value]) -> String {
    let of = |name: &str| reports.iter().map(move |report| report["durations_ms"][name].as_f64().unwrap_or_default()).collect::<Vec<_>>();
    let seconds = |name: &str| of(name).iter().sum::<f64>() / 1000.0;
    let finalize: f64 = reports.iter().map(|report| at(report, "finished") - at(report, "caught_up")).sum::<f64>() / 1000.0;
    let longest = |name: &str| of(name).iter().copied().fold(0.0, f64::max);
    let bytes: u64 = reports.iter().map(|report| report["bytes"]["archive"].as_u64().unwrap_or_default()).sum();
    format!(
        "{number},{},{configuration},{:.3},{:.3},{:.3},{:.3},{:.3},{finalize:.3},Completed,{:.1},{:.1},{},{},{bytes},0,0,0",
        setting.rate,
        seconds("total"),
        seconds("checkpoint"),
        seconds("transfer"),
        seconds("restore"),
        seconds("replay"),
        longest("freeze"),
        longest("cutover_gap"),
        setting.ballast_mib,
        setting.mode,
    )
}

fn at(report: &Value, event: &str) -> f64 {
    let mut marks = report["timeline"].as_array().into_iter().flatten();
    marks.find(|mark| mark["event"] == event).and_then(|mark| mark["at_ms"].as_f64()).unwrap_or_default()
}
