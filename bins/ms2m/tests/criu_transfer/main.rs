//! `ms2m migrate --local` over each way for a checkpoint: an agent, a registry; each a process of its own. (The shared volume is the way of
//! all other tests.)

mod agent;
#[path = "../criu_migrate/audit.rs"]
mod audit;
#[path = "../criu_migrate/figures.rs"]
mod figures;
#[path = "../criu_migrate/publish.rs"]
mod publish;
#[path = "../criu_migrate/stage.rs"]
mod stage;

use std::time::Duration;

use ms2m_testkit_machine::{Here, Options, inside_async, is_inside};
use ms2m_testkit_registry::RegistryServer;

use crate::agent::Agent;
use crate::stage::{Setting, Stage};

/// Where the registry is that was started outside of the machine.
const REGISTRY: &str = "MS2M_TEST_REGISTRY";
const MOVES: u32 = 3;
const BALLAST_MIB: u32 = 27;

fn options() -> Options {
    Options::default().rabbitmq().deadline(Duration::from_secs(600))
}

fn setting(here: &Here, name: &'static str) -> Setting {
    Setting { name, ..Setting::new(here, "runc", BALLAST_MIB) }
}

/// The counter moves again and again; each row of options is one move.
async fn moves(setting: Setting, ways: &[Vec<&str>]) {
    let name = setting.name;
    let mut stage = Stage::begin(setting).await;
    let mut reports = Vec::new();
    for (number, way) in (1..).zip(ways) {
        let report = stage.migrate(number, way).await;
        println!("{}: {}", way.join(" "), figures::line(&report));
        assert_eq!(report["outcome"], "completed", "{report:#}");
        assert_eq!(report["transfer_backend"], name, "{report:#}");
        let ledger = &report["ledger"];
        assert!(ledger["digest_source"].is_string() && ledger["digest_source"] == ledger["digest_target"], "{report:#}");
        reports.push(report);
    }
    println!("{}", figures::summary(&reports));
    stage.end().await;
}

#[test]
fn a_container_moves_by_an_agent() {
    inside_async(&options(), |here| {
        let setting = setting(here, "direct");
        async move {
            let agent = Agent::start();
            let way = vec!["--transfer", "direct", "--agent", &agent.url, "--node", agent::TARGET, "--credentials", agent.client()];
            moves(setting, &vec![way; MOVES as usize]).await;
            agent.keeps_nothing();
        }
    });
}

#[test]
fn a_container_moves_by_a_registry() {
    // The machine has none; its network is ours.
    let server = (!is_inside()).then(|| RegistryServer::start(&Default::default()).unwrap());
    let address = server.as_ref().map_or_else(|| std::env::var(REGISTRY).unwrap(), |server| server.address().to_string());
    inside_async(&options().env(REGISTRY, &address), |here| {
        let setting = setting(here, "registry");
        async move {
            let repository = format!("{address}/moves/counter");
            let sealed = vec!["--transfer", "registry", "--plain-http", "--repository", &repository];
            let unsealed = [sealed.clone(), vec!["--unsealed"]].concat();
            moves(setting, &[sealed.clone(), unsealed, sealed]).await;
        }
    });
}
