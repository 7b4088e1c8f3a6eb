//! `cargo xtask bench`: checkpoints packed and moved, side by side with other tools, and a controller with many migrations.

use anyhow::Result;

use crate::cargo::cargo;
use crate::provide;
use crate::steps::{Outcome, Steps, execute};

/// Whose work is compared with ours; without one of them its rows are left out.
const TOOLS: [&str; 5] = ["skopeo", "umoci", "buildah", "curl", "docker-registry"];

/// The comparison, with these options; `criterion` in front: the benchmarks of every package.
pub(crate) fn run(steps: &mut Steps, options: &[String]) {
    match options.split_first() {
        Some((first, rest)) if first == "criterion" => {
            steps.cargo("bench criterion", cargo().args(["bench", "--workspace"]).args(rest));
        }
        _ => steps.run("bench", || measure(options)),
    }
}

fn measure(options: &[String]) -> Result<Outcome> {
    if options.iter().any(|option| option.split(['=', ',']).any(|word| word == "controller")) {
        for provide in [provide::root_user, provide::registry, provide::sid_root, provide::kubernetes] {
            match provide()? {
                Outcome::Passed => {}
                missing => return Ok(missing),
            }
        }
    }
    for tool in TOOLS {
        // The program says it again where the rows would be.
        if let Outcome::LeftOut(what) = provide::program(tool)? {
            println!("{what}");
        }
    }
    let programs = ["ms2m", "ms2m-agent", "ms2m-bench"].into_iter().flat_map(|package| ["--package", package]);
    match execute(cargo().args(["build", "--release", "--bins"]).args(programs))? {
        Outcome::Passed => execute(cargo().args(["run", "--quiet", "--release", "--package", "ms2m-bench", "--"]).args(options)),
        failed => Ok(failed),
    }
}
