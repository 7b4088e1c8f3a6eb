//! The rules of the workspace, each a module with a test that shows it failing.

mod backends;
mod crypto;
#[cfg(test)]
pub(crate) mod fixture;
mod k8s_openapi;
mod licences;
mod lints;
mod main_rs;
mod pure_core;
mod tls_provider;
mod tree;
mod workspace;

use anyhow::Result;

pub(crate) use self::workspace::Workspace;
use crate::steps::{Outcome, Steps};

/// A rule returns its violations, one line each.
type Rule = fn(&Workspace) -> Result<Vec<String>>;

const RULES: [(&str, Rule); 8] = [
    ("core stays pure", pure_core::violations),
    ("backends stay apart", backends::violations),
    ("one crypto provider", crypto::violations),
    ("no TLS provider installed", tls_provider::violations),
    ("no k8s-openapi version", k8s_openapi::violations),
    ("small main.rs", main_rs::violations),
    ("lints everywhere", lints::violations),
    ("licences", licences::violations),
];

/// Every rule as a step.
pub(crate) fn run(steps: &mut Steps) {
    let workspace = Workspace::load(&crate::cargo::workspace_root());
    for (name, rule) in RULES {
        steps.run(&format!("rule: {name}"), || {
            let workspace = workspace.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            let violations = rule(workspace)?;
            Ok(if violations.is_empty() { Outcome::Passed } else { Outcome::Failed(violations.join("\n  ")) })
        });
    }
}
