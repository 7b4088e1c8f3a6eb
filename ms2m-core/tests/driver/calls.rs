//! What comes of it when everything goes well, and what when a single call does not.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::sim::{ARCHIVE, Owner, Sim, Trouble, clock, spec};
use async_trait::async_trait;
use ms2m_core::engine::{MigrationSpec, Step};
use ms2m_core::{
    AuditVerdict, Cancel, Clock, Driver, Error, ErrorKind, HandoverChoice, MemoryStore, MigrationId, MigrationReport, MigrationState,
    Observer, Outcome, Part, Phase, PreDumpPolicy, Progress, ReplayStanding, Result, StateStore,
};

/// The calls of a smooth migration before and after its commit point.
const FORWARD: [Step; 10] = [
    Step::Begin,
    Step::Prepare,
    Step::AwaitReady,
    Step::Park,
    Step::Checkpoint,
    Step::Resume,
    Step::Send(Part::Final),
    Step::Restore,
    Step::Progress,
    Step::HandOver,
];
const COMMITTED: [Step; 5] = [Step::Promote, Step::RetireSource, Step::RetireBroker, Step::DiscardTransfer, Step::DiscardCheckpoint];

fn audited() -> AuditVerdict {
    AuditVerdict { published: 125, added_latency_us: Some(1_500), ..AuditVerdict::default() }
}

#[tokio::test(start_paused = true)]
async fn the_report_has_the_promised_shape() {
    let sim = Arc::new(Sim::new());
    let report = sim.driver().run(spec()).await.unwrap();
    sim.check(&report);
    assert!(!report.ledger.exact, "nobody has audited it yet");
    let json = serde_json::to_value(report.audited(&audited())).unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
    let expect = |names: &str| names.split_whitespace().map(str::to_owned).collect();
    assert_eq!(
        keys(&json),
        expect(
            "id outcome reason phase_reached checkpoint_source transfer_backend restore_target protocol bytes pre_dump durations_ms ledger timeline"
        )
    );
    assert_eq!(keys(&json["durations_ms"]), expect("freeze checkpoint transfer restore replay cutover_gap added_latency total"));
    assert_eq!(
        keys(&json["ledger"]),
        expect("published applied_by_source journaled replayed applied_by_target lost doubled reordered digest_source digest_target exact")
    );
    assert_eq!(json["outcome"], "completed");
    assert_eq!(json["reason"], serde_json::Value::Null);
    assert_eq!(json["phase_reached"], "Completed");
    assert_eq!(json["protocol"], "journal");
    assert_eq!(json["bytes"], serde_json::json!({ "archive": ARCHIVE.len(), "transferred": ARCHIVE.len() / 2 }));
    assert_eq!(json["ledger"]["exact"], true);
    assert_eq!(json["ledger"]["lost"], 0);
    assert_eq!(json["ledger"]["published"], 125);
    assert!(json["ledger"]["digest_target"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(json["durations_ms"]["freeze"], 0.7);
    assert_eq!(json["durations_ms"]["cutover_gap"], 3.5);
    assert_eq!(json["durations_ms"]["added_latency"], 1.5);
    assert!(json["durations_ms"]["total"].as_f64().unwrap() < 100.0, "{json}");
    let events: Vec<&str> = json["timeline"].as_array().unwrap().iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["begun", "frozen", "thawed", "transferred", "restored", "caught_up", "cut_over", "finished"]);
}

#[tokio::test(start_paused = true)]
async fn hold_leaves_the_source_parked_until_the_end() {
    let sim = Arc::new(Sim::new());
    let report = sim
        .driver()
        .run(MigrationSpec {
            mode: HandoverChoice::Hold,
            pre_dump: Some(PreDumpPolicy { rounds_max: 2, ..PreDumpPolicy::default() }),
            ..spec()
        })
        .await
        .unwrap();
    sim.check(&report);
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(sim.asked(Step::Resume), 0);
    assert_eq!(sim.asked(Step::PreDump(1)) + sim.asked(Step::PreDump(2)), 2);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_ready_takes_the_queue_that_nobody_serves_while_it_is_stored_that_it_lives() {
    let cases = [
        (HandoverChoice::Hold, 20, Phase::Restoring),
        (HandoverChoice::Hold, 1, Phase::Replaying),
        (HandoverChoice::Chase, 20, Phase::Replaying),
    ];
    for (mode, replayed_per_look, on_record) in cases {
        let sim = Arc::new(Sim::replaying(replayed_per_look, None));
        let report = sim.driver().run(MigrationSpec { mode, ..spec() }).await.unwrap();
        sim.check(&report);
        assert_eq!(sim.truth().handed_over_from, Some(on_record));
    }
}

#[tokio::test(start_paused = true)]
async fn a_transfer_keeps_to_its_bandwidth() {
    let sim = Arc::new(Sim::new());
    let report = sim.driver().run(MigrationSpec { bytes_per_s_max: NonZeroU64::new(ARCHIVE.len() as u64 / 2), ..spec() }).await.unwrap();
    sim.check(&report);
    let transfer = report.durations_ms.transfer.unwrap();
    assert!((2_000.0..2_100.0).contains(&transfer), "twice the bytes of a second took {transfer} ms");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_twice_for_now_costs_nothing_but_time() {
    for step in FORWARD.into_iter().chain(COMMITTED) {
        if step == Step::HandOver {
            continue;
        }
        let sim = Arc::new(Sim::new());
        sim.trouble(step, &[Trouble::Retry, Trouble::Retry]);
        let report = sim.driver().run(spec()).await.unwrap();
        sim.check(&report);
        assert_eq!(report.outcome, Outcome::Completed, "{step}: {report:#?}");
        assert!(sim.asked(step) >= 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_for_good_rolls_back_before_the_commit_point() {
    for step in FORWARD {
        let sim = Arc::new(Sim::new());
        sim.trouble(step, &[Trouble::Fatal]);
        let report = sim.driver().run(spec()).await.unwrap();
        sim.check(&report);
        let expected = if step == Step::Begin { Outcome::Failed } else { Outcome::RolledBack };
        // Whether `begin` had succeeded when `prepare` failed is a matter of order.
        assert!(report.outcome == expected || step == Step::Prepare, "{step}: {report:#?}");
        assert!(report.reason.unwrap().contains(&step.to_string()), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_after_the_commit_point_is_repeated_whatever_it_says() {
    for step in COMMITTED {
        let sim = Arc::new(Sim::new());
        sim.trouble(step, &[Trouble::Fatal, Trouble::Hang, Trouble::HangAfter, Trouble::Retry]);
        let report = sim.driver().run(spec()).await.unwrap();
        sim.check(&report);
        assert_eq!(report.outcome, Outcome::Completed, "{step}");
        assert_eq!(sim.asked(step), 5, "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_answers_meets_a_deadline() {
    for (trouble, step) in [Trouble::Hang, Trouble::HangAfter].into_iter().flat_map(|trouble| FORWARD.map(|step| (trouble, step))) {
        let sim = Arc::new(Sim::new());
        sim.always(step, trouble);
        let started = clock();
        let report = sim.driver().run(spec()).await.unwrap();
        sim.check(&report);
        let took = clock().now().since(started.now());
        assert!(took < Duration::from_secs(700), "{step} took {took:?}");
        if step == Step::HandOver && trouble == Trouble::HangAfter {
            assert_eq!(report.outcome, Outcome::Completed, "the journal said so, although the call did not");
            continue;
        }
        assert_ne!(report.outcome, Outcome::Completed, "{step} {trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pre_dump_that_does_not_work_is_done_without() {
    let sim = Arc::new(Sim::new());
    sim.always(Step::PreDump(1), Trouble::Fatal);
    let report = sim.driver().run(MigrationSpec { pre_dump: Some(PreDumpPolicy::default()), ..spec() }).await.unwrap();
    sim.check(&report);
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(sim.asked(Step::PreDump(2)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_never_catches_up_is_given_up_with_its_lag() {
    let sim = Arc::new(Sim::replaying(0, None));
    let report = sim.driver().run(spec()).await.unwrap();
    sim.check(&report);
    assert_eq!((report.outcome, report.phase_reached), (Outcome::RolledBack, Phase::Replaying));
    assert!(report.reason.unwrap().contains("20 messages behind"));
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_refuses_itself_is_rolled_back() {
    let sim = Arc::new(Sim::replaying(10, Some(ReplayStanding::Rejected("digests differ at 120".into()))));
    let report = sim.driver().run(spec()).await.unwrap();
    sim.check(&report);
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert!(report.reason.unwrap().contains("digests differ at 120"));
    assert_eq!(sim.asked(Step::HandOver), 0);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_cannot_be_ended_keeps_the_journal_and_is_named() {
    let sim = Arc::new(Sim::replaying(10, Some(ReplayStanding::Rejected("no".into()))));
    sim.always(Step::DiscardCopy, Trouble::Retry);
    let report = sim.driver().run(spec()).await.unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack);
    let reason = report.reason.unwrap();
    assert!(reason.contains("left behind: the copy") && reason.contains("the journal"), "{reason}");
    assert!(sim.truth().journal && sim.asked(Step::RetireBroker) == 0);
    assert!(!sim.truth().parked, "the source works on all the same");

    // Whoever cannot be reached is asked again later, and the journal goes after the copy.
    let state = sim.driver().sweep(sim.stored().await.unwrap()).await.unwrap();
    assert_eq!(state.left_behind().names(), ["the copy", "the journal"]);
    sim.always(Step::RetireBroker, Trouble::Hang);
    sim.heal(Step::DiscardCopy);
    let state = sim.driver().sweep(state).await.unwrap();
    assert_eq!((state.left_behind().names(), sim.stored().await.unwrap()), (vec!["the journal"], state.clone()));
    assert!(!sim.truth().copy_lives);
    sim.heal(Step::RetireBroker);
    let state = sim.driver().sweep(state).await.unwrap();
    assert!(state.left_behind().is_empty() && !sim.truth().journal);
    assert!(!MigrationReport::of(&state).unwrap().reason.unwrap().contains("left behind"), "nothing is said of it any more");
    let asked = sim.truth().calls.len();
    sim.driver().sweep(state).await.unwrap();
    assert_eq!(sim.truth().calls.len(), asked, "nothing is left to ask for");
}

#[derive(Debug, Default)]
struct Seen {
    states: Mutex<Vec<MigrationState>>,
    progress: Mutex<Vec<Progress>>,
}

impl Observer for Seen {
    fn on_state(&self, state: &MigrationState) {
        self.states.lock().unwrap().push(state.clone());
    }

    fn on_progress(&self, _migration: &MigrationId, progress: &Progress) {
        self.progress.lock().unwrap().push(progress.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn while_nobody_knows_the_owner_nothing_is_discarded_and_somebody_is_called() {
    let sim = Arc::new(Sim::new());
    sim.trouble(Step::HandOver, &[Trouble::Hang]);
    sim.always(Step::Abort, Trouble::Fatal);
    let seen = Arc::new(Seen::default());
    let driver = sim.driver().with_observer(seen.clone());
    let healer = async {
        tokio::time::sleep(Duration::from_secs(400)).await;
        assert_eq!(sim.asked(Step::DiscardCopy), 0);
        assert!(seen.states.lock().unwrap().last().unwrap().attention().is_some(), "nobody was called");
        sim.heal(Step::Abort);
    };
    let (report, ()) = futures_util::future::join(driver.run(spec()), healer).await;
    let report = report.unwrap();
    sim.check(&report);
    assert_eq!(report.outcome, Outcome::RolledBack);
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_every_phase_and_all_bytes() {
    let sim = Arc::new(Sim::new());
    let seen = Arc::new(Seen::default());
    sim.driver().with_observer(seen.clone()).run(spec()).await.unwrap();
    let mut phases: Vec<Phase> = seen.states.lock().unwrap().iter().map(MigrationState::phase).collect();
    phases.dedup();
    assert_eq!(
        phases,
        [
            Phase::Pending,
            Phase::Checkpointing,
            Phase::Transferring,
            Phase::Restoring,
            Phase::Replaying,
            Phase::Finalizing,
            Phase::Completed
        ]
    );
    let progress = seen.progress.lock().unwrap();
    let of_bytes = ARCHIVE.len() as u64;
    assert!(progress.contains(&Progress::Transfer { part: Part::Final, bytes: of_bytes, of_bytes }));
    assert!(progress.iter().any(|progress| matches!(progress, Progress::Replay(replay) if replay.lag() == 10)));
}

#[tokio::test(start_paused = true)]
async fn a_begun_migration_is_not_begun_again_and_a_finished_one_tells_its_report() {
    let sim = Arc::new(Sim::new());
    let report = sim.driver().run(spec()).await.unwrap();
    assert_eq!(sim.driver().run(spec()).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let calls = sim.truth().calls.len();
    let state = sim.stored().await.unwrap();
    assert_eq!(sim.driver().resume(state).await.unwrap(), report);
    assert_eq!(sim.truth().calls.len(), calls, "nothing is done after the end");
    sim.store.remove(&spec().migration).await.unwrap();
    assert!(sim.stored().await.is_none());
}

/// A store that stops working after some saves.
#[derive(Debug)]
struct Full {
    inner: Arc<MemoryStore>,
    room: Mutex<u32>,
}

#[async_trait]
impl StateStore for Full {
    async fn save(&self, state: &MigrationState) -> Result<()> {
        {
            let mut room = self.room.lock().unwrap();
            *room = room.checked_sub(1).ok_or_else(|| Error::retry(ErrorKind::LimitExceeded, "no space left"))?;
        }
        self.inner.save(state).await
    }

    async fn load(&self, migration: &MigrationId) -> Result<Option<MigrationState>> {
        self.inner.load(migration).await
    }

    async fn remove(&self, migration: &MigrationId) -> Result<()> {
        self.inner.remove(migration).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_not_outrun_and_the_migration_can_be_resumed() {
    for room in 0..12 {
        // `Sim::call` checks that nothing is done that is not stored.
        let sim = Arc::new(Sim::new());
        let store = Arc::new(Full { inner: sim.store.clone(), room: Mutex::new(room) });
        let error = Driver::new(sim.drivers(), store).run(spec()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        let Some(state) = sim.stored().await else {
            assert_eq!((room, sim.truth().calls.len()), (0, 0));
            continue;
        };
        let report = sim.driver().resume(state).await.unwrap();
        sim.check(&report);
        assert_eq!(report.outcome, Outcome::Completed, "after {room} saves");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_from_the_start_changes_nothing() {
    let sim = Arc::new(Sim::new());
    let cancel = Cancel::new();
    cancel.cancel("never mind");
    cancel.cancel("a second word does not count");
    let report = sim.driver().with_cancel(cancel).run(spec()).await.unwrap();
    sim.check(&report);
    assert_eq!(report.outcome, Outcome::Cancelled);
    assert_eq!(report.reason.as_deref(), Some("never mind"));
    assert_eq!(sim.truth().owner, Owner::Undecided, "there was no journal to write into");
}
