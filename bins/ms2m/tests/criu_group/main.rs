//! `ms2m migrate --local` of several containers as one: a pod whose containers are connected over 127.0.0.1, and one of them to the outside.

#[path = "../criu_migrate/audit.rs"]
mod audit;
mod broker;
mod network;
mod pod;
#[path = "../criu_migrate/publish.rs"]
mod publish;
#[path = "../criu_migrate/stage.rs"]
mod stage;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ms2m_testkit_machine::{Options, inside, inside_async};
use serde_json::Value;

use crate::network::{Network, Outside, is_unlocked};
use crate::pod::{Pod, until};
use crate::stage::Setting;

fn show(runtime: &str, what: &str, report: &Value, first: Duration) {
    let durations = &report["durations_ms"];
    println!(
        "{runtime}, {what}: freeze {}, restore {}, nobody ran for {}, total {} ms; the connection goes on {} ms later at most",
        durations["freeze"],
        durations["restore"],
        durations["cutover_gap"],
        durations["total"],
        first.as_millis()
    );
}

/// Into prepared networks, which lead to the outside, and into ones of their own, which do not.
fn moves(runtime: &'static str) {
    let mut outside = Outside::new();
    let networks = [0, 1, 2].map(|number| Network::new(&format!("pod-{number}.net")));
    networks.iter().for_each(|network| outside.link(network));
    let mut pod = Pod::start(runtime, &networks[0]);
    until("the outside is reached", || pod.outer().len() > 10);
    for (number, network) in [Some(&networks[1]), None, None, Some(&networks[2]), None].into_iter().enumerate() {
        let before = pod.outer();
        let connected = before.iter().rev().find(|line| !line.contains("torn")).is_some_and(|line| line.parse::<u64>().is_ok());
        let copy = format!("moved-{number}");
        let mut more = network.map_or(vec![], |network| vec!["--network", network.path().to_str().unwrap()]);
        if number % 2 == 1 {
            // All of them stand still for a round, too, and their connections go on.
            more.extend(["--pre-dump", "1"]);
        }
        let output = pod.command(&copy, &more).output().unwrap();
        let report = pod.moved(&copy, &output);
        assert_eq!(report["outcome"], "completed", "{report:#}");
        assert_eq!(report["pre_dump"].as_array().map(Vec::len), Some(number % 2), "{report:#}");
        show(runtime, if network.is_some() { "prepared network" } else { "own network" }, &report, pod.goes_on());
        // The outer connection came up closed, at once, and could be made anew where there is a way.
        let after = || pod.outer()[before.len()..].to_vec();
        assert_eq!(after().iter().filter(|line| line.starts_with("closed")).count(), usize::from(connected), "{:?}", after());
        if let Some(network) = network {
            until("the outside is reached again", || after().iter().filter(|line| line.parse::<u64>().is_ok()).count() > 10);
            assert!(is_unlocked(network.path()));
        }
        assert!(after().iter().all(|line| !line.starts_with("torn")), "{:?}", after());
    }
    for link in 1..=3 {
        // One connection each, whole until its container was removed.
        let log = outside.log(link);
        assert!(log.len() == 2 && log[0] == "begun" && log[1].starts_with("ended"), "{log:?}");
    }
    pod.end();
}

/// A directory with a runtime that does `what` instead of restoring the server.
fn hindered(runtime: &str, what: &str) -> String {
    let directory = Path::new("/run/hindered");
    std::fs::create_dir_all(directory).unwrap();
    let real = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let script = format!("#!/bin/sh\ncase \" $* \" in *' restore '*-server*) {what} ;; esac\n{real} exec {runtime} \"$@\"\n");
    std::fs::write(directory.join(runtime), script).unwrap();
    std::fs::set_permissions(directory.join(runtime), std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", directory.display())
}

/// One container of the copy lives already when the other one fails; and when the driver is killed.
fn rolls_back(runtime: &'static str) {
    let mut outside = Outside::new();
    let networks = [0, 1].map(|number| Network::new(&format!("pod-{number}.net")));
    networks.iter().for_each(|network| outside.link(network));
    let mut pod = Pod::start(runtime, &networks[0]);
    until("the outside is reached", || pod.outer().len() > 10);
    let prepared = networks[1].path().to_str().unwrap();
    for more in [&["--network", prepared] as &[_], &[]] {
        let output = pod.command("failed", more).env("PATH", hindered(runtime, "sleep 1; exit 7")).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        println!("{runtime}: {}", report["reason"]);
        assert_eq!((output.status.code(), &report["outcome"]), (Some(3), &"rolled_back".into()), "{report:#}");
        pod.goes_on();
        assert!(is_unlocked(networks[1].path()));
        let left = std::fs::read_dir("/run/ms2m/containers").unwrap().count();
        assert_eq!(left, 0, "bundles of a copy that was given up");
    }
    // The source has not noticed: one connection to the outside, and not a word lost on it.
    assert_eq!(outside.log(1), ["begun"]);
    assert!(pod.outer().iter().all(|line| line == "connected" || line.parse::<u64>().is_ok()), "{:?}", pod.outer());

    let more = ["--network", prepared, "--migration", "killed"];
    let mut driver = pod.command("resumed", &more).env("PATH", hindered(runtime, "sleep 1000")).stdout(Stdio::null()).spawn().unwrap();
    until("the lock is on", || !is_unlocked(networks[1].path()));
    std::thread::sleep(Duration::from_millis(300));
    driver.kill().unwrap();
    driver.wait().unwrap();
    let begun = Instant::now();
    let output = pod.command("resumed", &more).output().unwrap();
    pod.moved("resumed", &output);
    println!("{runtime}: goes on after a kill, {} ms", begun.elapsed().as_millis());
    pod.goes_on();
    assert!(is_unlocked(networks[1].path()));
    pod.end();
    std::fs::remove_dir_all("/run/hindered").unwrap();
}

#[test]
fn connected_containers_move_by_runc() {
    inside(&Options::default(), |_| moves("runc"));
}

#[test]
fn connected_containers_move_by_crun() {
    inside(&Options::default(), |_| moves("crun"));
}

#[test]
fn a_failure_in_the_second_container_undoes_the_first_with_runc() {
    inside(&Options::default(), |_| rolls_back("runc"));
}

#[test]
fn a_failure_in_the_second_container_undoes_the_first_with_crun() {
    inside(&Options::default(), |_| rolls_back("crun"));
}

#[test]
fn a_consumer_and_its_companion_move_by_runc() {
    inside_async(&Options::default().rabbitmq(), |here| broker::moves(Setting { name: "group", ..Setting::new(here, "runc", 8) }, 3));
}

#[test]
fn a_consumer_and_its_companion_move_by_crun() {
    inside_async(&Options::default().rabbitmq(), |here| broker::moves(Setting { name: "group", ..Setting::new(here, "crun", 8) }, 3));
}
