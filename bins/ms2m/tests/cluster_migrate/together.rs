//! Containers of a pod that move together, with the connection between them.

use std::time::Instant;

use tokio::time::sleep;

use crate::figures;
use crate::stage::{Act, LOOK, Setting, Stage, WITHIN, Workload};

/// The last number that the tally has said, when that has come past `than`.
async fn tallied(act: &Act<'_>, than: u64) -> (Vec<String>, u64) {
    let begun = Instant::now();
    loop {
        let said = act.said("tally");
        let last = said.iter().rev().find_map(|line| line.parse().ok()).unwrap_or(0);
        if last > than {
            return (said, last);
        }
        assert!(begun.elapsed() < WITHIN, "the tally is not asked any more: {said:?}");
        sleep(LOOK).await;
    }
}

#[test]
fn containers_that_are_named_move_together_with_their_connection_and_another_one_starts_fresh() {
    let setting = Setting { workload: Workload::DeploymentOfSeveral, ..Setting::deployment(8, 10, "auto") };
    let act = async |act: &Act<'_>| {
        let (said, mut last) = tallied(act, 20).await;
        assert_eq!(said[..2], ["begun", "asked"]);
        // There and back.
        for _ in 0..2 {
            let report = act.migrate().await.remove(0);
            println!("{}", figures::line(&report));
            assert_eq!(report["outcome"], "completed", "{report:#}");
            act.is_tidy().await;
            let (said, now) = tallied(act, last).await;
            println!("the tally goes on from {} to {now}", said[0]);
            // From where they were when they were frozen together, and none twice.
            let numbers: Vec<u64> = said.iter().map(|line| line.parse().expect("numbers, and nothing of a beginning or an end")).collect();
            assert!(numbers[0] > last && numbers.windows(2).all(|two| two[1] == two[0] + 10), "{numbers:?}");
            assert_eq!(act.said("fresh"), ["begun"], "it is another one");
            assert_eq!(act.restarts(), 0);
            last = now;
        }
    };
    Stage::start().play_on(&setting, act, async |act| {
        // From its own image, as the consumer then does, too.
        act.crashes_in("tally").await;
        assert_eq!(act.said("tally"), ["begun"]);
        act.crashes_in("counter").await;
        act.is_tidy().await;
        let begun = Instant::now();
        while act.said("tally") != ["begun", "asked"] {
            assert!(begun.elapsed() < WITHIN, "{:?}", act.said("tally"));
            sleep(LOOK).await;
        }
    });
}
