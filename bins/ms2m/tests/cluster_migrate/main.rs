//! A Deployment's consumer moves from node to node of a real Kubernetes, on a real RabbitMQ, audited from outside of both.
//!
//! `MS2M_MIGRATIONS` says how often it moves (3 unless set), `MS2M_MEGABYTES` with how much state where it is held (27 unless set), `MS2M_PAUSE_MS` how
//! long it serves before each move (500 unless set); every run is printed.

#[path = "../criu_migrate/audit.rs"]
mod audit;
mod embedded;
#[path = "../criu_migrate/figures.rs"]
mod figures;
mod manifests;
mod operator;
#[path = "../criu_migrate/publish.rs"]
mod publish;
mod stage;
mod table;
mod together;
mod traces;

use std::collections::BTreeMap;

use crate::publish::RATE;
use crate::stage::{Act, Setting, Stage, Workload, number};
use crate::table::Run;

/// The consumer moves to and fro while publishers go on.
fn moves(setting: &Setting) {
    moves_on(&Stage::start(), setting, async |_| {});
}

/// The same in this cluster, with something that happens afterwards.
fn moves_on(stage: &Stage, setting: &Setting, after: impl AsyncFnOnce(&Act<'_>) + Send) {
    let mut runs = Vec::new();
    let act = async |act: &Act<'_>| {
        for _ in 0..number("MS2M_MIGRATIONS", 3) {
            let reports = act.migrate().await;
            for report in &reports {
                println!("{}", figures::line(report));
                assert_eq!(report["outcome"], "completed", "{report:#}");
                let ledger = &report["ledger"];
                assert!(ledger["digest_source"].is_string() && ledger["digest_source"] == ledger["digest_target"], "{report:#}");
            }
            act.is_tidy().await;
            runs.push(Run { reports });
        }
        let reports: Vec<_> = runs.iter().flat_map(|run| run.reports.clone()).collect();
        println!("{setting:?}: {}", figures::summary(&reports));
        println!("from the command to its end, in ms: {:?}", act.commands_ms());
    };
    stage.play_on(setting, act, after);
    // After the audit.
    table::append(setting, &runs);
}

#[test]
fn a_deployments_consumer_moves_at_10_messages_a_second() {
    moves_on(&Stage::start(), &Setting::deployment(27, 10, "auto"), async |act| act.crashes().await);
}

#[test]
fn a_deployments_consumer_moves_faster_than_it_works() {
    moves(&Setting::deployment(27, RATE, "auto"));
}

#[test]
fn a_deployments_consumer_that_is_held_moves() {
    moves(&Setting::deployment(number("MS2M_MEGABYTES", 27), 10, "hold"));
}

#[test]
fn of_a_consumer_that_is_held_only_what_a_round_has_not_brought_travels_while_nobody_serves() {
    let megabytes = number("MS2M_MEGABYTES", 27);
    let setting = Setting { drivers: &["--pre-dump", "1"], ..Setting::deployment(megabytes, 10, "hold") };
    moves_on(&Stage::start(), &setting, async |act| {
        let report = act.migrate().await.remove(0);
        let (round, all) = (report["pre_dump"][0]["archive_bytes"].as_u64().unwrap(), report["bytes"]["archive"].as_u64().unwrap());
        assert!(round >= u64::from(megabytes) << 20 && all - round < round / 2, "{report:#}");
        act.is_tidy().await;
    });
}

#[test]
fn a_deployments_consumer_moves_and_its_deployment_is_pinned_to_the_node() {
    moves_on(&Stage::start(), &Setting { drivers: &["--pin"], ..Setting::deployment(8, 10, "auto") }, async |act| {
        let (moved, from) = act.pod();
        act.kubectl(&["delete", "pod", &moved]);
        act.is_tidy().await;
        let fresh = act.pod();
        assert!(fresh.0 != moved && fresh.1 == from, "the next pod is on the node of the last one: {fresh:?}");
    });
}

#[test]
fn a_consumer_that_is_probed_all_the_time_moves_and_is_not_taken_for_dead() {
    let setting = Setting { workload: Workload::DeploymentWithProbes, ..Setting::deployment(27, 10, "auto") };
    moves_on(&Stage::start(), &setting, async |act| assert_eq!(act.restarts(), 0));
}

#[test]
fn a_deployments_consumer_moves_through_a_registry() {
    moves(&Setting { transfer: "registry", ..Setting::deployment(27, 10, "auto") });
}

#[test]
fn a_deployments_consumer_moves_through_a_shared_volume() {
    moves(&Setting { transfer: "shared-volume", ..Setting::deployment(27, 10, "auto") });
}

#[test]
fn the_volume_of_a_pod_follows_and_the_containers_beside_the_consumer_start_fresh() {
    let setting = Setting { workload: Workload::DeploymentWithMore, ..Setting::deployment(8, 10, "auto") };
    moves_on(&Stage::start(), &setting, async |act| {
        let mut counts = BTreeMap::new();
        for line in act.ledger() {
            let (key, count) = line.split_once('=').unwrap();
            let before = counts.insert(key.to_owned(), count.parse().unwrap()).unwrap_or(0_u64);
            assert_eq!(counts[key], before + 1, "{key}: written once, and in order");
        }
        println!("in the ledger: {} lines", counts.values().sum::<u64>());
        assert!(counts.values().sum::<u64>() > 20, "{counts:?}");
    });
}

#[test]
fn where_there_is_no_runtime_of_ours_a_consumer_moves_from_an_image_and_its_crash_starts_the_applications_own() {
    moves_on(&Stage::start_without_runtime(), &Setting::deployment(27, 10, "auto"), async |act| {
        assert_eq!(act.drivers(), ["runtime", "image"]);
        act.crashes().await;
        act.is_tidy().await;
        // What has started then moves as any other.
        assert_eq!(act.migrate().await[0]["outcome"], "completed");
        act.is_tidy().await;
    });
}

#[test]
fn of_a_copy_from_an_image_that_is_cancelled_nothing_is_left() {
    let setting = Setting { drivers: &["--restore-driver", "image"], ..Setting::deployment(96, 10, "auto") };
    Stage::start_without_runtime().play(&setting, async |act| {
        let (pod, to) = act.pod();
        let words = [&["migrate", &pod, "--to", to, "--no-wait"], &act.consumed()[..], setting.drivers].concat();
        let migration = act.ms2m(&words, 0).await.trim().to_owned();
        act.comes_to(&migration, "Restoring").await;
        act.ms2m(&["cancel", &migration], 0).await;
        act.is_tidy().await;
        assert_eq!((act.pod().0, act.images()), (pod, Vec::<String>::new()), "the source runs on, and no image is left");
    });
}

#[test]
fn a_consumer_moves_from_an_image_that_kubelets_way_of_taking_checkpoints_has_made() {
    let drivers = &["--restore-driver", "image", "--checkpoint-driver", "kubelet"];
    moves_on(&Stage::start(), &Setting { drivers, ..Setting::deployment(27, 10, "auto") }, async |act| {
        assert_eq!(act.drivers(), ["kubelet", "image"]);
    });
}

#[test]
fn a_statefulsets_consumer_moves_under_its_name() {
    moves(&Setting { workload: Workload::StatefulSet("sequential"), ..Setting::deployment(27, 10, "auto") });
}

#[test]
fn a_statefulsets_consumer_moves_by_a_stand_in_and_comes_home() {
    moves(&Setting { workload: Workload::StatefulSet("shadow-pod"), ..Setting::deployment(27, 10, "auto") });
}

#[test]
fn where_pods_cannot_be_placed_a_statefulsets_pod_stays() {
    let stage = Stage::start();
    stage.play(&Setting { workload: Workload::StatefulSet("shadow-pod"), ..Setting::deployment(0, 10, "auto") }, async |act| {
        let (pod, to) = act.pod();
        act.kubectl(&["delete", "mutatingadmissionpolicybinding", "ms2m-placement"]);
        for strategy in ["shadow-pod", "sequential"] {
            let words = [&["migrate", &pod, "--to", to, "--strategy", strategy][..], &act.consumed()].concat();
            act.ms2m(&words, 1).await;
            act.is_tidy().await;
            assert_eq!(act.pod(), (pod.clone(), to), "it has not moved, and nothing stands in for it");
        }
    });
}

#[test]
fn what_has_moved_is_told_and_what_cannot_move_is_undone() {
    let stage = Stage::start();
    stage.play(&Setting::deployment(8, 10, "chase"), async |act| {
        let report = act.migrate().await.remove(0);
        act.is_tidy().await;
        let migration = act.migrations().remove(0);
        assert!(act.ms2m(&["list"], 0).await.contains("Completed"));
        assert!(act.ms2m(&["describe", &migration], 0).await.contains("Deployment orders"));
        let told: serde_json::Value = serde_json::from_str(&act.ms2m(&["report", &migration, "--output", "json"], 0).await).unwrap();
        assert_eq!(told, report);
        assert!(act.ms2m(&["report", &migration, "--output", "svg"], 0).await.starts_with("<svg"));
        assert!(act.ms2m(&["cancel", &migration], 1).await.is_empty(), "it has ended");

        // No such node: the copy's pod waits, until somebody has enough of it.
        let (pod, _) = act.pod();
        let consumed = act.consumed();
        act.ms2m(&[&["migrate", &pod, "--to", "n9", "--no-wait"], &consumed[..]].concat(), 0).await;
        let stuck = act.migrations().into_iter().find(|name| *name != migration).unwrap();
        act.waits(&stuck).await;
        act.ms2m(&["cancel", &stuck], 0).await;
        act.is_tidy().await;
        assert_eq!((act.pod().0, act.migrations()), (pod.clone(), vec![migration.clone()]), "the source runs on");

        // Bad input is said at once, and changes nothing.
        for (words, status) in [
            (&["migrate", "nobody", "--to", "n2"][..], 1),
            (&["migrate", &pod, "--to", "n2", "--queue", "orders"], 1),
            (&["describe", "nobody"], 1),
            (&["report", "nobody"], 1),
            (&["list", "--context", "nobody"], 1),
        ] {
            act.ms2m(words, status).await;
        }
        act.is_tidy().await;
        assert_eq!(act.migrations(), [migration]);
    });
}

#[test]
fn the_controller_may_do_what_it_needs_and_no_more() {
    let stage = Stage::start();
    // What it needs, the moves show: it runs with these rights there.
    stage.play(&Setting::deployment(0, 10, "auto"), async |act| {
        let controller = |what: &str| act.may("ms2m-controller", &what.split(' ').collect::<Vec<_>>());
        for granted in [
            "create pods -A",
            "patch deployments -A",
            "patch replicasets -A",
            "patch statefulmigrations --subresource=status -A",
            "get nodes",
            "get secrets",
            "watch events -A",
            "update leases -n ms2m-system",
        ] {
            assert!(controller(granted), "{granted}");
        }
        for refused in [
            "get nodes --subresource=proxy",
            "create nodes --subresource=proxy",
            "create pods --subresource=exec -A",
            "get pods --subresource=log -A",
            "list secrets",
            "list events -A",
            "get secrets -n kube-system",
            "delete deployments -A",
            "create replicasets -A",
            "patch deployments --subresource=scale -A",
            "patch statefulsets -A",
            "patch nodes",
            "update statefulmigrations -A",
            "update leases -n kube-system",
            "create rolebindings -A",
        ] {
            assert!(!controller(refused), "{refused}");
        }
    });
}
