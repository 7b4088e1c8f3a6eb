//! What publishers do in a demo.

use ms2m_testkit::workload::Publisher;

use super::args::DemoArgs;

/// The queue of an embedded demo.
pub(crate) const QUEUE: &str = "orders";

/// All publishers: the rate and the messages divided among them.
pub(crate) fn publishers(args: &DemoArgs, id: &str, queue: &str, exchange: &str) -> Vec<Publisher> {
    let count = u64::from(args.publishers);
    let share = |index: u64| args.messages().map(|messages| messages / count + u64::from(index < messages % count));
    let publisher = |index: u64| Publisher {
        exchange: exchange.to_owned(),
        rate_per_s: f64::from(args.rate) / count as f64,
        count: share(index),
        seed: args.seed.wrapping_add(index),
        reconnects_max: 5_000,
        ..Publisher::new(format!("demo-{id}-p{}", index + 1), queue)
    };
    (0..count).map(publisher).collect()
}
