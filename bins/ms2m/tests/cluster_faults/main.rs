//! Moves on a cluster when something goes wrong. Each case ends with one consumer that serves, and with nothing left over; publishers go on through all of
//! them, and the audit is over everything. The table of it is `bins/ms2m-controller/FAULTS.md`, which this test keeps true (`MS2M_BLESS=1` writes it anew).
//!
//! `MS2M_FAULT_ROUNDS` says how often each case is played (1 unless set), `MS2M_SEED` repeats the moments at which something is killed.

#[path = "../criu_migrate/audit.rs"]
mod audit;
mod away;
mod broken;
mod case;
mod deleted;
mod killed;
mod management;
#[path = "../cluster_migrate/manifests.rs"]
mod manifests;
mod missing;
#[path = "../cluster_migrate/operator.rs"]
mod operator;
#[path = "../criu_migrate/publish.rs"]
#[allow(dead_code, reason = "another rate here")]
mod publish;
mod remains;
#[path = "../cluster_migrate/stage.rs"]
#[allow(dead_code, reason = "another workload there")]
mod stage;
mod table;

use crate::case::Play;
use crate::stage::{Act, Setting, Stage};

fn rounds() -> u32 {
    std::env::var("MS2M_FAULT_ROUNDS").ok().map_or(1, |number| number.parse().expect("a number of rounds"))
}

/// All cases of one chapter of the table.
fn chapter(title: &str, cases: impl AsyncFn(&Play<'_>) + Send + Sync) {
    Stage::start().play(&Setting::deployment(27, 20, "auto"), async |act: &Act<'_>| {
        let play = Play::new(act).await;
        for _ in 0..rounds() {
            cases(&play).await;
        }
        table::check(title, &play.rows());
    });
}

#[test]
fn whoever_is_killed_the_migration_ends_well() {
    chapter("Somebody is killed with no warning, and comes again", killed::cases);
}

#[test]
fn whatever_is_deleted_one_consumer_is_left() {
    chapter("Something is deleted, or crashes", deleted::cases);
}

#[test]
fn what_cannot_be_reached_is_waited_for_or_undone() {
    chapter("Something cannot be reached, or does not work", broken::cases);
}

#[test]
fn whoever_is_away_for_some_time_the_migration_ends_well() {
    chapter("Somebody does not answer for some time, or goes for good", away::cases);
}

#[test]
fn what_cannot_be_done_is_refused() {
    chapter("Something is missing, or asked for twice", missing::cases);
}
