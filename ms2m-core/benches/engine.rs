//! Steps of the engine per second: one whole migration, and the poll that is by far the most frequent event.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ms2m_core::engine::{Answer, DriverNames, Effect, Event, MigrationSpec, MigrationState, Step, step};
use ms2m_core::{
    Begun, Checkpoint, CheckpointCapability, CopyStatus, CutOver, Digest, HandoverMode, InstanceId, MigrationId, Ownership, Parked, Part,
    Phase, Protocol, Receipt, ReplayProgress, ReplayStanding, Restored, Retired, SourceStatus, Timestamp,
};

fn migration() -> MigrationId {
    MigrationId::new("bench").expect("valid")
}

fn copy() -> InstanceId {
    InstanceId::new("copy").expect("valid")
}

fn fresh() -> MigrationState {
    let source = InstanceId::new("source").expect("valid");
    let drivers = DriverNames {
        checkpoint_source: "snapshot".into(),
        transfer_backend: "memory".into(),
        restore_target: "memory".into(),
        capability: CheckpointCapability { leave_running: true, ..CheckpointCapability::default() },
    };
    MigrationState::new(MigrationSpec::new(migration(), "orders", source, copy()), drivers, Timestamp::default())
}

fn progress(standing: ReplayStanding) -> Answer {
    Answer::Progress(ReplayProgress { source_n: 7, copy_n: 7, standing })
}

fn answer(step: Step) -> Answer {
    match step {
        Step::Begin => Answer::Begun(Begun { protocol: Protocol::Journal, mode: HandoverMode::Chase, applied: 3 }),
        Step::WatchSource => Answer::Source(SourceStatus::Present),
        Step::Park => Answer::Parked(Parked { n: 5, digest: Digest::default() }),
        Step::Checkpoint => Answer::Checkpoint(Checkpoint {
            migration: migration(),
            part: Part::Final,
            parent: None,
            archive_bytes: 27_000_000,
            freeze: Duration::from_millis(12),
            manifest: [("engine".to_owned(), "criu".to_owned())].into(),
        }),
        Step::Send(part) => Answer::Sent(Receipt {
            migration: migration(),
            part,
            digest: Digest::default(),
            archive_bytes: 27_000_000,
            transferred_bytes: 9_000_000,
            location: "node-2".into(),
        }),
        Step::Restore => Answer::Restored(Restored { copy: copy(), restore: Duration::from_millis(80) }),
        Step::WatchCopy => Answer::Copy(CopyStatus::Present),
        Step::Progress => progress(ReplayStanding::Ready),
        Step::HandOver => Answer::Owner(Ownership::Copy(CutOver::default())),
        Step::RetireBroker => Answer::Retired(Retired::default()),
        _ => Answer::Done,
    }
}

/// Runs a migration in which everything succeeds; returns the final state and how many steps it took.
fn whole(start: &MigrationState) -> (MigrationState, u64) {
    let mut now = Timestamp::default();
    let (mut state, mut todo) = step(start, &Event::Start, now);
    let mut steps = 1;
    while !state.is_final() {
        let mut next: Vec<Effect> = Vec::new();
        for effect in todo.drain(..) {
            if effect.key.step == Step::WatchSource {
                continue;
            }
            now = now.after(Duration::from_micros(100));
            let event = Event::Done { issue: effect.issue, answer: answer(effect.key.step) };
            let (following, effects) = step(&state, &event, now);
            state = following;
            next.extend(effects);
            steps += 1;
        }
        todo = next;
    }
    (state, steps)
}

fn replaying() -> (MigrationState, u64) {
    let mut now = Timestamp::default();
    let (mut state, mut todo) = step(&fresh(), &Event::Start, now);
    loop {
        let effect = todo.pop().expect("there is always something to do");
        if effect.key.step == Step::Progress && state.phase() == Phase::Replaying {
            return (state, effect.issue);
        }
        now = now.after(Duration::from_micros(100));
        let (following, effects) = step(&state, &Event::Done { issue: effect.issue, answer: answer(effect.key.step) }, now);
        state = following;
        todo.extend(effects);
    }
}

fn engine(c: &mut Criterion) {
    let start = fresh();
    let (end, steps) = whole(&start);
    assert_eq!(end.phase(), Phase::Completed);

    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(steps));
    group.bench_function("whole_migration", |b| b.iter(|| whole(black_box(&start))));

    let (state, issue) = replaying();
    let event = Event::Done { issue, answer: progress(ReplayStanding::Replaying) };
    let now = Timestamp::from_micros(10_000);
    group.throughput(Throughput::Elements(1));
    group.bench_function("progress_poll", |b| b.iter(|| step(black_box(&state), black_box(&event), now)));
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
