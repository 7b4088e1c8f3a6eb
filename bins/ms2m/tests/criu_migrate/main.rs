//! `ms2m migrate --local` of the counter in real containers, on a real RabbitMQ, audited.
//!
//! `MS2M_MIGRATIONS` says how often each container moves (3 unless set); every run is printed.

mod audit;
mod figures;
mod publish;
mod stage;

use ms2m_testkit_machine::{Options, inside_async};

use crate::stage::{Setting, Stage};

fn options() -> Options {
    let passed = std::env::var("MS2M_MIGRATIONS").unwrap_or_else(|_| "3".into());
    Options::default().rabbitmq().env("MS2M_MIGRATIONS", passed).deadline(std::time::Duration::from_secs(1200))
}

fn migrations() -> u32 {
    std::env::var("MS2M_MIGRATIONS").ok().and_then(|number| number.parse().ok()).expect("a number of migrations")
}

/// The counter moves again and again while publishers go on.
async fn moves(setting: Setting) {
    let mut stage = Stage::begin(setting).await;
    let mut reports = Vec::new();
    for number in 1..=migrations() {
        let report = stage.migrate(number, &[]).await;
        println!("{}", figures::line(&report));
        assert_eq!(report["outcome"], "completed", "{report:#}");
        let ledger = &report["ledger"];
        assert!(ledger["digest_source"].is_string() && ledger["digest_source"] == ledger["digest_target"], "{report:#}");
        reports.push(report);
    }
    println!("{}", figures::summary(&reports));
    stage.end().await;
}

#[test]
fn a_runc_container_moves() {
    inside_async(&options(), |here| moves(Setting::new(here, "runc", 8)));
}

#[test]
fn a_crun_container_moves() {
    inside_async(&options(), |here| moves(Setting::new(here, "crun", 8)));
}

#[test]
fn a_runc_container_with_27_mb_moves() {
    inside_async(&options(), |here| moves(Setting::new(here, "runc", 27)));
}

#[test]
fn a_crun_container_with_27_mb_moves() {
    inside_async(&options(), |here| moves(Setting::new(here, "crun", 27)));
}

#[test]
fn a_runc_container_with_256_mb_moves() {
    inside_async(&options(), |here| moves(Setting::new(here, "runc", 256)));
}

#[test]
fn a_crun_container_with_256_mb_moves() {
    inside_async(&options(), |here| moves(Setting::new(here, "crun", 256)));
}
