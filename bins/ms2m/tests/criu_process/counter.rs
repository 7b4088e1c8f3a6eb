//! The counter as a bare process, on a real RabbitMQ, audited.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ms2m_broker::link::{Broker as _, QueueKind, QueueOptions};
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_testkit_machine::workspace_program;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::audit::audit;
use crate::figures;
use crate::publish::{PUBLISHERS, RATE, publish};
use crate::{end, migrate, moved, start};

/// From it the counter learns who it is.
const IDENTITY: &str = "/run/identity";

pub(crate) async fn moves(url: &str, management: &str) {
    let migrations = std::env::var("MS2M_MIGRATIONS").ok().and_then(|number| number.parse().ok()).expect("a number of migrations");
    std::fs::write(IDENTITY, "counter-1\n").expect("written");
    let config = RabbitMqConfig::new(url).and_then(|config| config.with_management(management)).expect("URLs");
    let broker = Arc::new(RabbitMq::new(config).expect("a broker"));
    let mut reports = Vec::new();
    for number in 1..=migrations {
        let report = one(&broker, url, management, &format!("process-{number}")).await;
        println!("{}", figures::line(&report));
        reports.push(report);
    }
    println!("{}", figures::summary(&reports));
    std::fs::remove_file(IDENTITY).expect("removed");
}

/// A new counter on a new queue moves once.
async fn one(broker: &Arc<RabbitMq>, url: &str, management: &str, queue: &str) -> Value {
    let effects = format!("{queue}.out");
    let admin = broker.connect("test-admin").await.expect("connected");
    for (name, kind) in [(queue, QueueKind::Quorum), (&effects, QueueKind::Classic)] {
        let options = QueueOptions { kind, single_active_consumer: false, bytes_max: None };
        admin.declare(name, &options).await.expect("declared");
    }
    let counter = workspace_program("counter", "counter").expect("built").display().to_string();
    let words = ["--broker", url, "--queue", queue, "--queue-type", "quorum", "--effects-to", &effects, "--identity-file", IDENTITY];
    let mut source = start(std::iter::once(counter.as_str()).chain(words));
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = |number| tokio::spawn(publish(Arc::clone(broker), queue.to_owned(), number, RATE, Arc::clone(&stop)));
    let publishers: Vec<_> = (0..PUBLISHERS).map(publisher).collect();
    let begun = Instant::now();
    while admin.queue_status(queue).await.expect("a status").is_none_or(|status| status.consumers == 0) {
        assert!(begun.elapsed() < Duration::from_secs(30), "the counter does not consume");
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_secs(1)).await;

    let options = ["--broker", url, "--management", management, "--queue", queue, "--identity-file", IDENTITY, "--copy", "counter-2"];
    let mut command = migrate(source.id(), &options);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("ms2m");
    let (report, copy) = moved(&output);
    assert_eq!(report["outcome"], "completed", "{report:#}");
    let ledger = &report["ledger"];
    assert!(ledger["digest_source"].is_string() && ledger["digest_source"] == ledger["digest_target"], "{report:#}");
    assert!(source.try_wait().expect("a child").is_some(), "the source has ended");

    sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    let mut sent = Vec::new();
    for publisher in publishers {
        sent.push(publisher.await.expect("no panic"));
    }
    let audit = audit(broker, &effects, &sent).await;
    println!("{queue}: {audit:?}");
    assert!(audit.exact && audit.lost + audit.doubled + audit.reordered == 0, "{audit:?}");
    assert_eq!(admin.queue_status(queue).await.expect("a status").expect("a queue").ready, 0, "messages that nobody has applied");
    end(copy);
    admin.delete(queue).await.expect("deleted");
    admin.close().await;
    report
}
