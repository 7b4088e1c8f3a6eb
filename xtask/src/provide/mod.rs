//! What the tests need beyond cargo: installed where that is ours to do, else said in one line.

mod container_tools;
mod debian;
mod programs;
mod service;
mod testbed;

use crate::cargo::cargo;
use crate::steps::Outcome;

pub(crate) use self::container_tools::container_tools;
pub(crate) use self::programs::{OF_CLUSTER_TESTS, PROGRAMS, static_debug_programs, static_programs};
pub(crate) use self::service::{program, rabbitmq, registry};
pub(crate) use self::testbed::{Early, helm, kubernetes, root_user, sid_root, virtual_machine};

/// A component of the Rust toolchain, found by the cargo command it brings.
pub(crate) fn component(name: &str, command: &[&str]) -> Outcome {
    match cargo().args(command).arg("--version").output() {
        Ok(output) if output.status.success() => Outcome::Passed,
        _ => Outcome::LeftOut(format!("the Rust component {name} is missing; `rustup component add {name}` installs it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_component_is_named() {
        let Outcome::LeftOut(what) = component("nonesuch", &["nonesuch"]) else { panic!("found a component that does not exist") };
        assert!(what.contains("rustup component add nonesuch"), "{what}");
    }
}
