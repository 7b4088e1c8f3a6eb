//! `ms2m migrate --local --pre-dump` in a virtual machine, whose kernel tracks changed memory; and what is said where it does not.

use std::path::Path;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ms2m_testkit_machine::{Bundle, Options, inside, vm};
use serde_json::Value;

const MS2M: &str = env!("CARGO_BIN_EXE_ms2m");
const MIB: u32 = 32;

/// Every page holds its own number and when it was last written. Each turn writes a hundredth of them, looks at all, and writes a line.
const PROGRAM: &str = r#"
use strict;
my $pages = $ARGV[0] * 256;
open(my $log, '>>', '/log') or die;
select((select($log), $| = 1)[0]);
my $heap = "\0" x ($pages * 4096);
my @written = (0) x $pages;
substr($heap, $_ * 4096, 16) = pack('QQ', $_, 0) for 0 .. $pages - 1;
my $window = int($pages / 100);
for (my $turn = 1; ; $turn++) {
    for my $at (0 .. $window - 1) {
        my $page = ($turn * $window + $at) % $pages;
        $written[$page] = $turn;
        substr($heap, $page * 4096, 16) = pack('QQ', $page, $turn);
    }
    for my $page (0 .. $pages - 1) {
        my ($number, $when) = unpack('QQ', substr($heap, $page * 4096, 16));
        if ($number != $page || $when != $written[$page]) { print $log "$turn page $page is wrong\n"; exit 1 }
    }
    print $log "$turn ok\n";
    select(undef, undef, undef, 0.02);
}
"#;

/// Waits until the log has some more lines, of which none is missing and none says that memory is wrong.
fn goes_on(rootfs: &Path) {
    let lines = || {
        let text = std::fs::read_to_string(rootfs.join("log")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (at, line) in whole.lines().enumerate() {
            assert_eq!(line, format!("{} ok", at + 1));
        }
        whole.lines().count()
    };
    let (before, begun) = (lines(), Instant::now());
    while lines() < before + 3 {
        assert!(begun.elapsed() < Duration::from_secs(120), "it stands still at {before}");
        sleep(Duration::from_millis(100));
    }
}

/// Moves a container that looks after its memory, and looks whether the copy still does.
fn moves(program: &Path, runtime: &str) -> Output {
    let source = format!("source-{runtime}");
    let bundle = Bundle::new(format!("/run/{source}"), ["perl", "-e", PROGRAM, "--", &MIB.to_string()]).unwrap();
    assert!(Bundle::command(runtime).args(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(&source).status().unwrap().success());
    goes_on(&bundle.rootfs());
    let copy = format!("copy-{runtime}");
    let mut command = Command::new(program);
    command.args(["migrate", "--local", "--runtime", runtime, "--source", &source, "--copy", &copy, "--pre-dump", "3"]);
    let output = command.args(["--work-dir", "/run/ms2m", "--output", "json"]).output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let rootfs = Path::new("/run/ms2m/containers").join(&copy).join("rootfs");
    goes_on(&rootfs);
    assert!(Bundle::command(runtime).args(["delete", "--force", &copy]).status().unwrap().success());
    assert!(Command::new("umount").arg(&rootfs).status().unwrap().success());
    std::fs::remove_dir_all("/run/ms2m").unwrap();
    output
}

#[test]
fn containers_move_by_rounds() {
    let options = Options::default().program(MS2M).deadline(Duration::from_secs(900));
    vm::inside(&options, |_| {
        // Its crun 1.21 does not give CRIU a container's own configuration.
        let report: Value = serde_json::from_slice(&moves(&vm::program(Path::new(MS2M)), "runc").stdout).unwrap();
        println!("{} rounds {:#}", report["durations_ms"], report["pre_dump"]);
        let rounds: Vec<u64> = report["pre_dump"].as_array().unwrap().iter().map(|round| round["dirty_bytes"].as_u64().unwrap()).collect();
        assert!(rounds.len() > 1, "{report:#}");
        assert!(rounds[0] >= u64::from(MIB) << 20, "the first round brings everything: {rounds:?}");
        assert!(rounds[1] < rounds[0], "the next one what has changed: {rounds:?}");
    });
}

#[test]
fn without_tracking_one_round_is_compared_with_what_comes_after_it() {
    inside(&Options::default(), |_| {
        let tracked = Command::new("criu").args(["check", "--feature", "mem_dirty_track"]).output().unwrap();
        if tracked.status.success() {
            println!("this kernel tracks changed memory: nothing to see here");
            return;
        }
        let output = moves(Path::new(MS2M), "runc");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        println!("{} {:#}", report["durations_ms"], report["pre_dump"]);
        assert_eq!(report["pre_dump"].as_array().map(Vec::len), Some(1), "{report:#}");
        let (first, all) = (report["pre_dump"][0]["archive_bytes"].as_u64().unwrap(), report["bytes"]["archive"].as_u64().unwrap());
        assert!(first >= u64::from(MIB) << 20 && all - first < first / 2, "what has not changed does not travel again: {report:#}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("one pre-dump round is made, and only in hold mode: this kernel does not track changed memory"), "{said}");
    });
}
