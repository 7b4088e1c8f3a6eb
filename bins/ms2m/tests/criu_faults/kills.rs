//! `kill -9` at random moments.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Child;
use tokio::time::sleep;

use crate::remains::{Before, check, is_alive};
use crate::stage::{PAUSE, Setting, Stage};

/// From a victim's appearance to its end at most.
const LINGER: Duration = Duration::from_millis(30);
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Victim {
    Ms2m,
    Criu,
    Runtime,
}

#[derive(Default)]
struct Tally {
    runs: u32,
    missed: u32,
    completed: u32,
    rolled_back: u32,
    resumed: u32,
    /// The source died in the hands of a CRIU that was killed.
    lost: u32,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, missed, completed, rolled_back, resumed, lost } = self;
        write!(
            f,
            "{runs} runs ({missed} without a victim): {completed} completed, {rolled_back} rolled back, {lost} source lost; {resumed} resumed"
        )
    }
}

/// How one run has ended.
struct Ended {
    report: Value,
    words: String,
    killed: bool,
    resumed: bool,
}

pub(crate) async fn run(setting: Setting) {
    let runs = std::env::var("MS2M_KILLS").map_or(12, |text| text.parse::<u32>().expect("MS2M_KILLS is a number") / 2);
    let seed = std::env::var("MS2M_SEED").map_or_else(|_| rand::rng().random(), |text| text.parse().expect("MS2M_SEED is a number"));
    println!("{}: {runs} runs, MS2M_SEED={seed}", setting.runtime);
    let mut dice = StdRng::seed_from_u64(seed);
    let mut tallies = BTreeMap::<Victim, Tally>::new();
    let mut stage = Stage::begin(setting.clone()).await;
    let mut takes = Duration::MAX;
    for number in 1..=3 {
        let begun = Instant::now();
        stage.migrate(runs + number, &[]).await;
        takes = takes.min(begun.elapsed().saturating_sub(PAUSE));
    }
    println!("an undisturbed migration takes {takes:.0?}");
    for number in 1..=runs {
        let victim = [Victim::Ms2m, Victim::Criu, Victim::Runtime][dice.random_range(0..3)];
        let (at, linger) = (takes.mul_f64(dice.random()), LINGER.mul_f64(dice.random()));
        let before = Before::take(setting.runtime);
        let copy = stage.copy(number);
        println!("k-{number}: {victim:?} after {at:.0?}+{linger:.0?}");
        let ended = attempt(&stage, number, victim, at, linger).await;
        let lives = [stage.container.as_str(), &copy].map(|container| is_alive(stage.setting.runtime, container));
        let outcome = ended.report["outcome"].as_str().unwrap_or("no report");
        println!("  killed: {}, {outcome} {}", ended.killed, ended.report["reason"]);
        let tally = tallies.entry(victim).or_default();
        tally.runs += 1;
        tally.missed += u32::from(!ended.killed);
        tally.resumed += u32::from(ended.resumed);
        let Ended { report, words, .. } = &ended;
        match lives {
            [true, false] => tally.rolled_back += 1,
            [false, true] => {
                assert_eq!(outcome, "completed", "{report:#} {words}");
                tally.completed += 1;
                stage.container = copy;
            }
            [true, true] => panic!("k-{number}: both live: {report:#} {words}"),
            [false, false] => {
                assert_eq!(victim, Victim::Criu, "k-{number}: nobody lives: {report:#} {words}");
                assert!(report["reason"].as_str().is_some_and(|reason| reason.contains("its state is lost")), "{report:#} {words}");
                tally.lost += 1;
                // Nothing after this can be exact: the next counter begins anew.
                let (audit, waiting) = stage.close().await;
                assert_eq!((audit.doubled, audit.reordered), (0, 0), "{audit:?}");
                assert!(u64::from(waiting) >= audit.lost, "{waiting} messages wait in the queue: {audit:?}");
                stage = Stage::begin(setting.clone()).await;
                continue;
            }
        }
        if let Err(wrong) = check(&stage, &before).await {
            panic!("k-{number}: {wrong}\n{report:#} {words}");
        }
    }
    stage.migrate(runs + 4, &[]).await;
    stage.end().await;
    for (victim, tally) in &tallies {
        println!("{} {victim:?}: {tally}", setting.runtime);
    }
}

/// One migration with its accident, gone on with until it ends.
async fn attempt(stage: &Stage, number: u32, victim: Victim, at: Duration, linger: Duration) -> Ended {
    let (copy, migration) = (stage.copy(number), format!("k-{number}"));
    let begin = || {
        let options = [("--copy", copy.as_str()), ("--migration", &migration), ("--restore-within", "20")];
        stage.command(&options).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
    };
    let mut child = begin();
    let killed = strike(&mut child, stage.setting.runtime, victim, at, linger).await;
    let (mut report, mut words) = finish(child).await;
    let resumed = killed && victim == Victim::Ms2m;
    if resumed && report.is_null() {
        let (again, more) = finish(begin()).await;
        (report, words) = (again, words + &more);
    }
    Ended { report, words, killed, resumed }
}

async fn finish(child: Child) -> (Value, String) {
    let output = match tokio::time::timeout(DEADLINE, child.wait_with_output()).await {
        Ok(output) => output.unwrap(),
        Err(_) => panic!("it does not end; what there is: {}", hanging()),
    };
    let words = format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), words)
}

/// Waits, looks for the victim until the migration ends, and kills it. Whether there was one.
async fn strike(child: &mut Child, runtime: &str, victim: Victim, at: Duration, linger: Duration) -> bool {
    let ms2m = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap();
    // What comes and goes is looked for early, so that there still is one.
    let end = Instant::now() + if victim == Victim::Ms2m { at } else { at / 2 };
    let ended = |child: &mut Child| child.try_wait().unwrap().is_some();
    while Instant::now() < end {
        if ended(child) {
            return false;
        }
        sleep(Duration::from_millis(1)).await;
    }
    loop {
        let found = match victim {
            Victim::Ms2m => Some(ms2m),
            Victim::Criu => process("criu"),
            Victim::Runtime => process(runtime),
        };
        if ended(child) {
            return false;
        }
        match found.and_then(Pid::from_raw) {
            None => sleep(Duration::from_millis(1)).await,
            Some(pid) if victim == Victim::Ms2m => return kill_process(pid, Signal::KILL).is_ok(),
            Some(pid) => {
                sleep(linger).await;
                if kill_process(pid, Signal::KILL).is_ok() {
                    return true;
                }
            }
        }
    }
}

/// Processes and states, for whoever has to find out why.
fn hanging() -> String {
    let script = "ps -eo pid,ppid,pgid,stat,etimes,wchan:16,args; tail -n +1 /run/ms2m/states/* /run/ms2m/containers/*/restore/restore.log; \
                  grep . /sys/fs/cgroup/counter*/cgroup.procs";
    let output = std::process::Command::new("sh").args(["-c", script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A process of this program.
fn process(program: &str) -> Option<i32> {
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let first = line.split('\0').next()?;
        (first.rsplit('/').next()? == program).then_some(pid)
    })
}
