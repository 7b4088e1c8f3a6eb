//! The lines, for people and for programs.

use std::io;

use ms2m_criu::check::{Check, CheckResult, worst};
use serde_json::json;

use crate::demo::Output;

/// Prints all of `checks`. A reader that has seen enough is no error.
pub(super) fn print(checks: &[Check], output: Output) -> io::Result<()> {
    let out = io::BufWriter::new(io::stdout().lock());
    let written = match output {
        Output::Text => text(checks, out),
        Output::Json => json(checks, out),
    };
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

fn text(checks: &[Check], mut out: impl io::Write) -> io::Result<()> {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    for check in checks {
        writeln!(out, "{:<8} {:width$}  {}", check.result, check.name, check.reason)?;
        if let Some(remedy) = &check.remedy {
            writeln!(out, "{:<8} {:width$}  -> {remedy}", "", "")?;
        }
    }
    let count = |result| checks.iter().filter(|check| check.result == result).count();
    let [ok, warn, fail, unknown] = [CheckResult::Ok, CheckResult::Warn, CheckResult::Fail, CheckResult::Unknown].map(count);
    writeln!(out, "{ok} ok, {warn} warn, {fail} fail, {unknown} unknown")?;
    out.flush()
}

fn json(checks: &[Check], mut out: impl io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut out, &json!({ "result": worst(checks), "checks": checks }))?;
    writeln!(out)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> [Check; 2] {
        [Check::ok("root", "runs as root"), Check::fail("kernel", "too new").remedy("a newer CRIU")]
    }

    #[test]
    fn people_see_columns() {
        let mut shown = Vec::new();
        text(&lines(), &mut shown).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        assert_eq!(
            shown,
            "ok       root    runs as root\nfail     kernel  too new\n                 -> a newer CRIU\n1 ok, 0 warn, 1 fail, 0 unknown\n"
        );
    }

    #[test]
    fn programs_get_one_object() {
        let mut shown = Vec::new();
        json(&lines(), &mut shown).unwrap();
        let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
        assert_eq!(shown["result"], "fail");
        assert_eq!(shown["checks"][0], json!({ "name": "root", "result": "ok", "reason": "runs as root" }));
        assert_eq!(shown["checks"][1]["remedy"], "a newer CRIU");
    }
}
