//! `cargo xtask test`: the tests by what they need.

mod declared;
mod real;

use clap::ValueEnum;

use self::real::{CLUSTER, CRIU, SERVICES, TOOLS};
use crate::provide::Early;
use crate::steps::Steps;

/// One tier of tests.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Tier {
    /// Unit tests, integration tests and doctests; no root, no services
    Unit,
    /// Tests against real services, which they start themselves
    Services,
    /// Tests with skopeo, umoci, buildah and containerd; as root
    Tools,
    /// Tests with the real CRIU, runc and crun; as root
    Criu,
    /// Tests on a Kubernetes of two nodes; as root
    Cluster,
}

/// Every tier.
pub(crate) fn run_all(steps: &mut Steps, early: Early) {
    let (quiet, busy): (Vec<&Tier>, _) = Tier::value_variants().iter().partition(|tier| matches!(tier, Tier::Criu | Tier::Cluster));
    busy.into_iter().for_each(|tier| tier.run(steps));
    early.wait();
    quiet.into_iter().for_each(|tier| tier.run(steps));
}

impl Tier {
    pub(crate) fn run(self, steps: &mut Steps) {
        match self {
            Self::Unit => steps.run("unit", real::unit),
            Self::Services => steps.run("services", || SERVICES.run()),
            Self::Tools => steps.run("tools", || TOOLS.run()),
            Self::Criu => steps.run("criu", || CRIU.run()),
            Self::Cluster => steps.run("cluster", || CLUSTER.run()),
        }
    }
}
