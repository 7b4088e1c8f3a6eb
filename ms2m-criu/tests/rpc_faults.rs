//! CRIU's RPC against programs that behave as CRIU should not: they hang, die, talk nonsense or too much.
//!
//! The false CRIU is a shell script. Its standard input is the socket: it reads requests with `dd` and writes answers to it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ms2m_core::{Error, ErrorKind, Verdict};
use ms2m_criu::criu::{Cause, Criu, CriuError, DumpOptions, RestoreOptions};

/// Reads one message into a file.
const READ: &str = "dd bs=64k count=1 of=\"$dir/request\" 2>/dev/null";
/// An answer of type DUMP (1) without success, error number 5.
const FAILED: &str = r"printf '\010\001\020\000\070\005' >&0";
const DONE: &str = r"printf '\010\001\020\001' >&0";
/// A notification `post-dump`.
const POST_DUMP: &str = r"printf '\010\006\020\001\052\013\012\011post-dump' >&0";
/// `stats-dump` with 1 ms of freezing and 2 ms frozen, and no pages.
const STATS: &str = r#"printf '\100\131\020\125\006\063\011\127\022\000\000\000\012\020\010\350\007\020\320\017\030\000\040\000\050\000\060\000\070\000\110\000' > "$dir/stats-dump""#;

struct False {
    dir: tempfile::TempDir,
    criu: Criu,
}

impl False {
    fn new(script: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let text = format!("dir={}\necho $$ > \"$dir/pid\"\n{}\n", dir.path().display(), script.join("\n"));
        let program = dir.path().join("criu");
        fs::write(&program, text).expect("written");
        Self { criu: Criu::new(program).launched_by(["sh"]), dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn dump(&self) -> DumpOptions {
        DumpOptions { deadline: Duration::from_secs(5), ..DumpOptions::new(1, self.dir.path()) }
    }

    fn restore(&self) -> RestoreOptions {
        RestoreOptions { deadline: Duration::from_millis(300), ..RestoreOptions::new(self.dir.path()) }
    }

    fn ended(&self) -> bool {
        let pid = fs::read_to_string(self.file("pid")).expect("it began");
        !fs::exists(format!("/proc/{}", pid.trim())).expect("readable")
    }
}

async fn nothing() -> Result<(), Error> {
    Ok(())
}

#[tokio::test]
async fn a_program_that_is_missing() {
    let criu = Criu::new("/no/such/criu");
    let error = criu.version().await.expect_err("missing");
    assert!(matches!(error, CriuError::Start { .. }), "{error:?}");
    let error = Error::from(error);
    assert_eq!((error.kind(), error.verdict()), (ErrorKind::Unsupported, Verdict::Fatal));
    assert!(error.to_string().contains("install CRIU"), "{error}");
}

#[tokio::test]
async fn a_version() {
    let right = False::new(&[READ, r"printf '\010\012\020\001\122\006\010\004\020\002\040\001' >&0"]);
    assert_eq!(right.criu.version().await.expect("answered").to_string(), "4.2.1");
}

#[tokio::test]
async fn one_that_dies_at_once() {
    let dead = False::new(&["echo 'no such kernel' >&2; exit 3"]);
    let error = dead.criu.restore(&dead.restore(), |_| nothing()).await.expect_err("dead");
    assert!(matches!(error, CriuError::Died { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("exit status: 3") && text.contains("no such kernel"), "{text}");
    assert_eq!(Error::from(error).verdict(), Verdict::Retry);
}

#[tokio::test]
async fn one_that_is_killed_in_the_middle() {
    let dead = False::new(&[
        READ,
        "echo '(00.1) Error (criu/x.c:1): Connected TCP socket, consider using --tcp-established' > $dir/dump.log",
        "kill -9 $$",
    ]);
    let error = dead.criu.dump(&dead.dump(), nothing).await.expect_err("dead");
    assert_eq!(error.cause(), Some(Cause::EstablishedTcp));
    assert!(error.to_string().contains("SIGKILL") && error.to_string().contains("tcp-close"), "{error}");
}

#[tokio::test]
async fn nonsense_and_too_much_of_it() {
    for answer in ["printf 'HTTP/1.1 200 OK' >&0", "dd if=/dev/zero bs=100000 count=1 >&0 2>/dev/null", r"printf '\010\014\020\001' >&0"] {
        let odd = False::new(&[READ, answer, "sleep 1000"]);
        let error = odd.criu.restore(&odd.restore(), |_| nothing()).await.expect_err("nonsense");
        assert!(matches!(error, CriuError::Answer { .. }), "{answer}: {error:?}");
        assert!(odd.ended(), "{answer}: it is killed and waited for");
    }
}

#[tokio::test]
async fn a_restore_that_hangs_is_killed_at_its_deadline() {
    let stuck = False::new(&[READ, "exec sleep 1000"]);
    let begun = Instant::now();
    let error = stuck.criu.restore(&stuck.restore(), |_| nothing()).await.expect_err("late");
    assert!(matches!(error, CriuError::Deadline { .. }) && begun.elapsed() < Duration::from_secs(2), "{error:?}");
    assert!(stuck.ended());
    assert_eq!(Error::from(error).kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_restore_that_nobody_wants_is_killed() {
    let stuck = False::new(&[READ, "touch $dir/begun", "exec sleep 1000"]);
    let options = RestoreOptions { deadline: Duration::from_secs(60), ..stuck.restore() };
    let wait = async {
        while !stuck.file("begun").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        done = stuck.criu.restore(&options, |_| nothing()) => panic!("{done:?}"),
        () = wait => {}
    }
    assert!(stuck.ended());
}

#[tokio::test]
async fn a_dump_that_nobody_wants_may_undo_what_it_does() {
    // It notices the closed socket when it asks, as CRIU does.
    let busy = False::new(&[READ, "touch $dir/begun", "sleep 0.4", POST_DUMP, READ, "test -s $dir/request || touch $dir/undone"]);
    let wait = async {
        while !busy.file("begun").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let options = busy.dump();
    tokio::select! {
        done = busy.criu.dump(&options, nothing) => panic!("{done:?}"),
        () = wait => {}
    }
    assert!(!busy.ended(), "it is not killed: its code may be in the source's tasks");
    busy.criu.settle(Duration::from_millis(20)).await.expect_err("it is still at work");
    busy.criu.clone().settle(Duration::from_secs(5)).await.expect("settled");
    assert!(busy.ended());
}

#[tokio::test]
async fn the_work_is_done_once_while_frozen_and_acknowledged() {
    let ack = "cp $dir/request $dir/ack";
    let right = False::new(&[READ, POST_DUMP, READ, ack, POST_DUMP, READ, STATS, DONE]);
    let calls = AtomicU32::new(0);
    let work = || async {
        calls.fetch_add(1, Ordering::SeqCst);
        assert!(!right.file("ack").exists(), "the acknowledgement follows the work");
        Ok(())
    };
    let stats = right.criu.dump(&right.dump(), work).await.expect("dumped");
    assert_eq!((calls.into_inner(), stats.freeze()), (1, Duration::from_millis(3)));
    assert_eq!(fs::read(right.file("ack")).expect("acknowledged"), [0x08, 6, 0x18, 1]);
    assert!(right.ended());
}

#[tokio::test]
async fn a_dump_takes_the_one_that_stands_by_unless_that_was_killed() {
    let ready = False::new(&["echo $$ >> $dir/begun", READ, STATS, DONE]);
    let begun = || fs::read_to_string(ready.file("begun")).unwrap_or_default().lines().count();
    let until = async |count: usize| {
        while begun() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    ready.criu.stand_by();
    until(1).await;
    ready.criu.clone().apart().dump(&ready.dump(), nothing).await.expect("by another one");
    assert_eq!(begun(), 2);
    ready.criu.clone().dump(&ready.dump(), nothing).await.expect("by the one that stood by");
    assert_eq!(begun(), 2);
    ready.criu.stand_by();
    until(3).await;
    let pid = fs::read_to_string(ready.file("pid")).expect("it began");
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().expect("a number")).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    // Nobody has waited for it yet.
    while !fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).expect("readable").contains(") Z ") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    ready.criu.dump(&ready.dump(), nothing).await.expect("by a new one");
    assert_eq!(begun(), 4);
    ready.criu.stand_by();
    until(5).await;
    ready.criu.stand_down();
    ready.criu.settle(Duration::from_secs(5)).await.expect("it ends by itself");
    assert!(ready.ended());
}

#[tokio::test]
async fn a_dump_is_not_ended_by_a_signal_that_asks_for_it() {
    let right = False::new(&[READ, "for signal in HUP INT QUIT TERM; do kill -$signal $$; done", POST_DUMP, READ, STATS, DONE]);
    right.criu.dump(&right.dump(), nothing).await.expect("dumped");
    let asked = False::new(&[READ, "kill -TERM $$; sleep 1000"]);
    let error = asked.criu.restore(&asked.restore(), |_| nothing()).await.expect_err("a restore may be ended");
    assert!(matches!(error, CriuError::Died { .. }), "{error:?}");
}

#[tokio::test]
async fn failed_work_fails_the_dump() {
    let right = False::new(&[READ, POST_DUMP, READ, "cp $dir/request $dir/ack", FAILED]);
    let refuse = || async { Err(Error::fatal(ErrorKind::LimitExceeded, "too many files")) };
    let error = right.criu.dump(&right.dump(), refuse).await.expect_err("refused");
    assert!(matches!(error, CriuError::WhileFrozen(_)), "{error:?}");
    assert_eq!(fs::read(right.file("ack")).expect("acknowledged"), [0x08, 6, 0x18, 0]);
    let error = Error::from(error);
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(error.to_string().contains("too many files"), "{error}");
}

#[tokio::test]
async fn work_that_takes_too_long_fails_the_dump_in_good_order() {
    let right = False::new(&[READ, POST_DUMP, READ, "cp $dir/request $dir/ack", FAILED]);
    let options = DumpOptions { deadline: Duration::from_millis(300), ..right.dump() };
    let error = right.criu.dump(&options, std::future::pending).await.expect_err("late");
    assert_eq!(Error::from(error).kind(), ErrorKind::Timeout);
    assert_eq!(fs::read(right.file("ack")).expect("acknowledged"), [0x08, 6, 0x18, 0], "CRIU is told, not killed");
}

#[tokio::test]
async fn a_refusal_names_reason_and_remedy() {
    let log = "printf '(00.1) Error (criu/tty.c:9): tty: Found slave peer index 1 without ctl tty\\n' > $dir/dump.log";
    let refusing = False::new(&[READ, log, FAILED]);
    fs::write(refusing.file("dump.log"), "Error (x): an earlier attempt used io_uring\n").expect("written");
    let error = refusing.criu.dump(&refusing.dump(), nothing).await.expect_err("refused");
    assert_eq!(error.cause(), Some(Cause::Terminal), "{error}");
    assert!(error.to_string().contains("without ctl tty") && error.to_string().contains("setsid"), "{error}");
    assert_eq!(Error::from(error).verdict(), Verdict::Fatal);
}

#[tokio::test]
async fn success_without_statistics_is_none() {
    let hollow = False::new(&[READ, DONE]);
    let error = hollow.criu.dump(&hollow.dump(), nothing).await.expect_err("no figures");
    assert!(error.to_string().contains("statistics"), "{error}");
}

#[tokio::test]
async fn a_directory_that_is_missing() {
    let criu = Criu::new("/no/such/criu");
    let error = criu.dump(&DumpOptions::new(1, "/no/such/directory"), nothing).await.expect_err("missing");
    assert!(matches!(error, CriuError::Io { .. }), "{error:?}");
    assert_eq!(Error::from(error).kind(), ErrorKind::NotFound);
}
