//! `ms2m migrate --local` when something goes wrong: whoever does the work is killed, or cannot do it.
//!
//! `MS2M_KILLS` says how often something is killed, with both runtimes together (24 unless set); `MS2M_SEED` repeats a course.

#[path = "../criu_migrate/audit.rs"]
mod audit;
mod kills;
mod obstacles;
#[path = "../criu_migrate/publish.rs"]
mod publish;
mod remains;
#[path = "../criu_migrate/stage.rs"]
mod stage;

use std::time::Duration;

use ms2m_testkit_machine::{Here, Options, inside_async};

use crate::stage::Setting;

fn options() -> Options {
    let passed = |options: Options, name| match std::env::var(name) {
        Ok(value) => options.env(name, value),
        Err(_) => options,
    };
    ["MS2M_KILLS", "MS2M_SEED"].into_iter().fold(Options::default(), passed).rabbitmq().deadline(Duration::from_secs(3600))
}

fn setting(here: &Here, name: &'static str, runtime: &'static str) -> Setting {
    Setting { name, ..Setting::new(here, runtime, 8) }
}

#[test]
fn kills_leave_one_owner_with_runc() {
    inside_async(&options(), |here| kills::run(setting(here, "kills", "runc")));
}

#[test]
fn kills_leave_one_owner_with_crun() {
    inside_async(&options(), |here| kills::run(setting(here, "kills", "crun")));
}

#[test]
fn obstacles_are_named_and_the_source_runs_on() {
    inside_async(&options(), |here| obstacles::run(setting(here, "obstacles", "runc")));
}

#[test]
fn a_source_that_cannot_be_dumped_runs_on() {
    inside_async(&options(), |here| obstacles::run_odd_sources(setting(here, "odd", "runc")));
}
