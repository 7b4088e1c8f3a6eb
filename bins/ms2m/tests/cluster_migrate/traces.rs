//! A move as its trace tells it, from the controller and from both nodes. `MS2M_MIGRATIONS` says how many there are (1 unless set): the last one is told.

use std::collections::BTreeSet;
use std::time::Instant;

use ms2m_testkit::collector::Collector;
use tokio::time::sleep;

use crate::operator::{COLLECTOR, Operator};
use crate::stage::{LOOK, Setting, Stage, WITHIN, number};

#[test]
fn a_move_is_one_trace_of_the_controller_and_both_nodes() {
    Stage::start_with(Operator::start_traced).play(&Setting::deployment(number("MS2M_MEGABYTES", 0), 10, "hold"), async |act| {
        let collector = Collector::start(COLLECTOR).unwrap();
        let mut migration = String::new();
        for _ in 0..number("MS2M_MIGRATIONS", 1) {
            let report = act.migrate().await.remove(0);
            assert_eq!(report["outcome"], "completed");
            report["id"].as_str().unwrap().clone_into(&mut migration);
            act.is_tidy().await;
        }
        let trace: Vec<u8> = migration.replace('-', "").as_bytes().chunks(2).map(byte).collect();
        let wanted = [
            ("ms2m-controller", "migration"),
            ("ms2m-controller", "begin"),
            ("ms2m-controller", "hand over"),
            ("ms2m-agent", "node: checkpoint"),
            ("ms2m-agent", "node: send"),
            ("ms2m-agent", "node: restore"),
            ("ms2m-agent", "node: retire source"),
        ];
        let begun = Instant::now();
        let spans = loop {
            let of_this = collector.spans().into_iter().filter(|(_, span)| span.trace_id == trace).collect::<Vec<_>>();
            let names: BTreeSet<_> = of_this.iter().map(|(service, span)| (service.as_str(), span.name.as_str())).collect();
            if wanted.iter().all(|wanted| names.contains(wanted)) {
                break of_this;
            }
            assert!(begun.elapsed() < WITHIN, "{names:?}");
            sleep(LOOK).await;
        };
        let (_, root) = spans.iter().find(|(_, span)| span.name == "migration").unwrap();
        let mut timeline: Vec<_> =
            spans.iter().map(|(service, span)| (span.start_time_unix_nano, span.end_time_unix_nano, service, &span.name)).collect();
        timeline.sort_unstable();
        for (from, to, service, name) in timeline {
            let ms = |at: u64| (i128::from(at) - i128::from(root.start_time_unix_nano)) as f64 / 1e6;
            println!("{:8.1} to {:8.1} ms: {service}: {name}", ms(from), ms(to));
        }
        assert!(root.parent_span_id.is_empty());
        let failed = |(_, span): &&(String, ms2m_testkit::collector::Span)| span.status.as_ref().is_some_and(|status| status.code == 2);
        assert_eq!(spans.iter().filter(failed).count(), 0, "{spans:#?}");
    });
}

fn byte(pair: &[u8]) -> u8 {
    u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()
}
