//! Whether this machine's CPU has what a checkpoint demands.

use std::path::{Path, PathBuf};

use crate::archive::Limits;
use crate::check::Check;
use crate::inspect::{Here, inspect};

pub(super) async fn checks(checkpoint: PathBuf) -> Vec<Check> {
    let looked = tokio::task::spawn_blocking(move || look(&checkpoint, &Here::probe())).await;
    looked.unwrap_or_else(|error| vec![Check::unknown("against", error.to_string())])
}

fn look(checkpoint: &Path, here: &Here) -> Vec<Check> {
    match inspect(checkpoint, &Limits::default(), here) {
        Ok(inspection) => {
            inspection.checks.into_iter().filter(|check| check.name == "architecture" || check.name.starts_with("cpu")).collect()
        }
        Err(error) => vec![Check::fail("against", error.to_string()).remedy("name an archive or directory that `ms2m inspect` can read")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckResult;

    fn fixture(features: &[&str]) -> Vec<Check> {
        let features = features.iter().map(|name| (*name).to_owned()).collect();
        let here = Here { architecture: "x86_64".into(), cpu_features: Some(features), ..Here::default() };
        look(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/containerd.tar.gz")), &here)
    }

    #[test]
    fn a_cpu_that_lacks_something_fails() {
        let all = fixture(&["avx", "avx512f", "pku", "sse2", "amx_tile"]);
        assert!(all.len() >= 2 && all.iter().all(|check| check.result == CheckResult::Ok), "{all:?}");
        let failed = fixture(&["sse2"]);
        assert!(failed.iter().any(|check| check.name == "cpu features" && check.result == CheckResult::Fail), "{failed:?}");
    }

    #[test]
    fn what_is_no_checkpoint_fails() {
        assert_eq!(look(Path::new("/nonexistent"), &Here::default())[0].result, CheckResult::Fail);
    }
}
