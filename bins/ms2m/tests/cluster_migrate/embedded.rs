//! An operator of one's own, `examples/embed-operator`, in place of ms2m-controller: it moves a Deployment's consumer, and keeps to its own policy.

use ms2m_testkit_cluster::Cluster;
use ms2m_testkit_machine::workspace_program;

use crate::figures;
use crate::operator::{Operator, credentials};
use crate::publish::RATE;
use crate::stage::{Setting, Stage};

fn embedded(cluster: &Cluster) -> Operator {
    Operator::start_with(cluster, |cluster| {
        let mut program = cluster.command(workspace_program("embed-operator", "embed-operator").unwrap());
        program.arg(credentials(cluster)).env("BROKER", cluster.rabbitmq().unwrap().amqp_url());
        program
    })
}

#[test]
fn an_operator_of_ones_own_moves_a_consumer_there_and_back_and_asks_for_the_node() {
    Stage::start_with(embedded).play(&Setting::deployment(8, RATE / 12, "auto"), async |act| {
        let mut reports = Vec::new();
        for _ in 0..2 {
            let moved = act.migrate().await;
            let [report] = moved.as_slice() else { panic!("{moved:#?}") };
            println!("{}", figures::line(report));
            assert_eq!(report["outcome"], "completed", "{report:#}");
            act.is_tidy().await;
            reports.extend(moved);
        }
        println!("{}", figures::summary(&reports));

        let (pod, _) = act.pod();
        let without_a_node = [&["migrate", &pod], &act.consumed()[..]].concat();
        assert!(act.ms2m(&without_a_node, 1).await.is_empty(), "its own policy");
        assert_eq!((act.pod().0, act.migrations().len()), (pod, 3));
    });
}
