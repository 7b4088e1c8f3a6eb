//! `ms2m migrate --local` of a program without the SDK and without a queue, in another language: memory, open files, timers, children.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ms2m_testkit_machine::{Bundle, Options, inside};
use serde_json::Value;

/// Counts. A child squares each number (children, pipes), a table is looked into (memory), a timer goes off every second, and each
/// line goes to a file that stays open.
const PROGRAM: &str = r#"
use strict;
open(my $log, '>>', '/log') or die;
select((select($log), $| = 1)[0]);
my @table = map { $_ * 7 } 0 .. 199_999;
pipe(my $asked, my $ask); pipe(my $answered, my $answer);
select((select($ask), $| = 1)[0]); select((select($answer), $| = 1)[0]);
if (!fork()) { while (my $number = <$asked>) { print $answer $number * $number, "\n" } exit }
my $timers = 0;
$SIG{ALRM} = sub { $timers++; alarm(1) };
alarm(1);
for (my $n = 1; ; $n++) {
    print $ask "$n\n";
    my $square = <$answered>;
    chomp $square;
    print $log "$n $square $table[$n % 200_000] $timers\n";
    select(undef, undef, undef, 0.005);
}
"#;

struct Line {
    n: u64,
    timers: u64,
}

/// The log, in which every number comes once, in order, with its square and its table entry.
fn log(rootfs: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(rootfs.join("log")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().map(|line| {
        let words: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        assert_eq!((words[1], words[2]), (words[0] * words[0], words[0] % 200_000 * 7), "{line}");
        Line { n: words[0], timers: words[3] }
    });
    let lines: Vec<_> = lines.collect();
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line.n, at as u64 + 1, "lost or doubled after the move");
    }
    lines
}

/// Waits until the log is longer, and the timer has gone off again.
fn goes_on(rootfs: &Path) {
    let before = log(rootfs);
    let (lines, timers) = (before.len(), before.last().map_or(0, |line| line.timers));
    let begun = Instant::now();
    loop {
        let now = log(rootfs);
        if now.len() > lines + 20 && now.last().is_some_and(|line| line.timers > timers) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it stands still at {lines}");
        sleep(Duration::from_millis(50));
    }
}

fn moves(runtime: &str) {
    let bundle = Bundle::new("/run/bundle", ["perl", "-e", PROGRAM]).unwrap();
    assert!(Bundle::command(runtime).args(["run", "--detach", "--bundle"]).arg(bundle.path()).arg("other").status().unwrap().success());
    let (mut container, mut rootfs) = ("other".to_owned(), bundle.rootfs());
    goes_on(&rootfs);
    for number in 1..=3 {
        let copy = format!("other-{number}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ms2m"));
        command.args(["migrate", "--local", "--runtime", runtime, "--source", &container, "--copy", &copy]);
        let output = command.args(["--work-dir", "/run/ms2m", "--output", "json"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let durations = &report["durations_ms"];
        println!(
            "{runtime} {number}: freeze {}, nobody ran for {}, total {} ms",
            durations["freeze"], durations["cutover_gap"], durations["total"]
        );
        assert_eq!((&report["outcome"], &report["protocol"]), (&"completed".into(), &"standstill".into()), "{report:#}");
        (container, rootfs) = (copy.clone(), Path::new("/run/ms2m/containers").join(copy).join("rootfs"));
        goes_on(&rootfs);
    }
    assert!(Bundle::command(runtime).args(["delete", "--force", &container]).status().unwrap().success());
    assert!(Command::new("umount").arg(&rootfs).status().unwrap().success());
    std::fs::remove_dir_all("/run/ms2m").unwrap();
}

#[test]
fn a_program_without_the_sdk_moves_by_runc() {
    inside(&Options::default(), |_| moves("runc"));
}

#[test]
fn a_program_without_the_sdk_moves_by_crun() {
    inside(&Options::default(), |_| moves("crun"));
}
