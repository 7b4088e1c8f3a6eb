//! A node of a real Kubernetes is emptied: its consumers move, each audited, and what is left the ordinary drain can have.

#[path = "../criu_migrate/audit.rs"]
mod audit;
#[path = "../cluster_migrate/operator.rs"]
mod operator;
#[path = "../criu_migrate/publish.rs"]
mod publish;
mod stage;

use serde_json::Value;

use crate::stage::{Consumer, Stage};

/// Prints what has moved, and what it cost.
fn print(summary: &Value) {
    for one in summary["migrations"].as_array().unwrap() {
        let (took, report) = (&one["report"]["durations_ms"], &one["report"]);
        println!(
            "{} -> {}: {} freeze {} gap {} total {} ms, outcome {}",
            one["pod"], one["target_node"], one["end"], took["freeze"], took["cutover_gap"], took["total"], report["outcome"]
        );
    }
}

fn ends(summary: &Value) -> Vec<&str> {
    summary["migrations"].as_array().unwrap().iter().map(|one| one["end"].as_str().unwrap()).collect()
}

/// The doctor's line about something.
fn line<'a>(told: &'a Value, name: &str) -> &'a Value {
    told["checks"].as_array().unwrap().iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{name}: {told:#}"))
}

#[test]
fn five_consumers_move_and_the_ordinary_drain_then_finds_nothing_in_its_way() {
    let consumers = ["one", "two", "three", "four", "five"].map(|name| Consumer { name, secret: "broker" });
    Stage::start().play(&consumers, async |act| {
        let before = act.pods_on("n1");
        assert_eq!(before.len(), 6, "{before:?}");
        act.drain(&["n1", "--dry-run"], 0).await;
        assert_eq!((act.pods_on("n1"), act.is_cordoned("n1")), (before.clone(), false), "nothing was done");

        let summary = act.drain(&["n1"], 0).await;
        print(&summary);
        assert_eq!(ends(&summary), ["moved"; 5], "{summary:#}");
        assert_eq!((&summary["drained"], act.is_cordoned("n1")), (&Value::from(true), true), "{summary:#}");
        assert_eq!(act.pods_on("n1"), [""; 0]);
        assert_eq!(summary["evictions"].as_array().unwrap().len(), 1, "{summary:#}");
        act.kubectl(&["drain", "n1", "--ignore-daemonsets"]);
        act.are_all_ready(6).await;

        // The moved ones are opted in as before, and what runs elsewhere is none of a drain's business.
        act.drain(&["n2", "--to", "n1"], 1).await;
        act.kubectl(&["uncordon", "n1"]);
        let summary = act.drain(&["n2", "--to", "n1", "--at-once", "2", "--migrate-only"], 0).await;
        print(&summary);
        assert_eq!(ends(&summary), ["moved"; 5], "{summary:#}");
        let left = act.pods_on("n2");
        assert!(left.len() == 1 && left[0].starts_with("web-"), "{left:?}");
        act.are_all_ready(6).await;
    });
}

#[test]
fn a_consumer_that_cannot_move_is_never_evicted_and_mended_it_moves() {
    let consumers = [Consumer { name: "well", secret: "broker" }, Consumer { name: "stray", secret: "nobody" }];
    Stage::start().play(&consumers, async |act| {
        let on_n1 = act.pods_on("n1");
        let [stray, web, well] = on_n1.as_slice() else { panic!("{on_n1:?}") };
        // The doctor has said so before.
        let told = act.doctor(["--pod", stray], 1).await;
        assert_eq!(line(&told, "secret")["result"], "fail", "{told:#}");
        assert_eq!(line(&told, "pod")["result"], "ok", "{told:#}");
        let well = act.doctor(["--pod", well], 0).await;
        for name in ["pod", "owner", "container", "probes", "queue", "secret", "rights", "migrations", "target"] {
            assert_eq!(line(&well, name)["result"], "ok", "{well:#}");
        }
        assert_eq!(line(&act.doctor(["--pod", web], 0).await, "queue")["result"], "warn");

        let summary = act.drain(&["n1"], 3).await;
        print(&summary);
        assert_eq!(ends(&summary), ["not_moved", "moved"], "{summary:#}");
        let told = summary["migrations"][0]["reason"].as_str().unwrap();
        assert!(told.contains("Secret"), "{told}");
        assert_eq!(act.pods_on("n1"), [stray.clone(), web.clone()], "neither was evicted");
        assert!(act.is_cordoned("n1") && summary["drained"] == false, "{summary:#}");
        let node = act.doctor(["--node", "n1"], 0).await;
        assert_eq!((&line(&node, "node")["result"], &line(&node, "schedulable")["result"]), (&"ok".into(), &"warn".into()), "{node:#}");
        // Here agents are no pods.
        assert_eq!(line(&node, "agent")["result"], "unknown", "{node:#}");

        // Mended, the same command goes on.
        act.kubectl(&["create", "secret", "generic", "nobody", &format!("--from-literal=url={}", act.broker_url())]);
        let summary = act.drain(&["n1", "--migrate-only"], 0).await;
        print(&summary);
        assert_eq!((ends(&summary), act.pods_on("n1")), (vec!["moved"], vec![web.clone()]), "{summary:#}");

        // A budget has the last word about the others.
        act.kubectl(&["create", "poddisruptionbudget", "web", "--selector=app=web", "--max-unavailable=0"]);
        act.budget_is_known().await;
        let summary = act.drain(&["n1", "--timeout", "5"], 3).await;
        let told = summary["evictions"][0]["reason"].as_str().unwrap();
        assert!(told.contains("disruption budget") && told.contains("--timeout"), "{told}");
        assert_eq!(act.pods_on("n1"), std::slice::from_ref(web));
        act.kubectl(&["delete", "poddisruptionbudget", "web"]);
        act.drain(&["n1"], 0).await;
        assert_eq!(act.pods_on("n1"), [""; 0]);

        // What was asked for in error changes nothing.
        for words in [&["n9"][..], &["n2", "--to", "n2"], &["n2", "--to", "n1"], &["n2", "--to", "n9"]] {
            act.drain(words, 1).await;
        }
        assert!(!act.is_cordoned("n2"));
    });
}

#[test]
fn who_drains_may_do_that_and_no_more() {
    Stage::start().play(&[], async |act| {
        for granted in [
            "get nodes",
            "patch nodes",
            "list pods -A",
            "create pods --subresource=eviction -A",
            "create statefulmigrations -A",
            "watch statefulmigrations -A",
        ] {
            assert!(act.may_drainer(granted), "{granted}");
        }
        for refused in
            ["delete pods -A", "get secrets -A", "create pods -A", "delete nodes", "delete statefulmigrations -A", "patch deployments -A"]
        {
            assert!(!act.may_drainer(refused), "{refused}");
        }
    });
}
