//! A program without the SDK and without a queue, in another language: memory, an open file, a child, timers.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{WORK_DIR, end, migrate, moved, seen_by, start};

const LOG: &str = "/run/log";

/// Counts. A child squares each number, a table is looked into, a timer goes off every second. With `listen` it listens as well.
const PROGRAM: &str = r#"
use strict;
use IO::Socket::INET;
my $listening = IO::Socket::INET->new(LocalAddr => '127.0.0.1:7117', Listen => 5) or die if $ARGV[0] eq 'listen';
open(my $log, '>>', '/run/log') or die;
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

/// How many lines there are, in which every number comes once, in order, with its square and its table entry; and how many timers.
fn lines(log: &Path) -> (u64, u64) {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let (mut last, mut timers) = (0, 0);
    for line in whole.lines() {
        let words: Vec<u64> = line.split(' ').map(|word| word.parse().expect("a number")).collect();
        assert_eq!(words[..3], [last + 1, (last + 1) * (last + 1), (last + 1) % 200_000 * 7], "lost or doubled after {last}");
        (last, timers) = (words[0], words[3]);
    }
    (last, timers)
}

/// Waits until the log is longer, and the timer has gone off again.
fn goes_on(log: &Path) {
    let (before, begun) = (lines(log), Instant::now());
    while lines(log).0 < before.0 + 20 || lines(log).1 == before.1 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it stands still at {before:?}");
        sleep(Duration::from_millis(50));
    }
}

pub(crate) fn moves() {
    let mut source = start(["perl", "-e", PROGRAM, "quiet"]);
    goes_on(Path::new(LOG));
    let doctor = Command::new(env!("CARGO_BIN_EXE_ms2m")).args(["doctor", "--source", &source.id().to_string()]).output().expect("ms2m");
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));

    let output = migrate(source.id(), &["--pre-dump", "3"]).output().expect("ms2m");
    let (report, copy) = moved(&output);
    println!("{:#}", report["durations_ms"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no pre-dump rounds") || report["pre_dump"][0]["round"] == 1, "rounds, or why there are none: {said}");
    assert_eq!((&report["outcome"], &report["protocol"]), (&"completed".into(), &"standstill".into()), "{report:#}");
    assert!(source.try_wait().expect("a child").is_some(), "the source has ended");
    let left = lines(Path::new(LOG)).0;
    goes_on(&seen_by(copy, LOG));
    assert_eq!(lines(Path::new(LOG)).0, left, "nobody writes where the source did");

    let again = migrate(copy, &[]).output().expect("ms2m");
    assert_eq!(again.status.code(), Some(1), "{}", String::from_utf8_lossy(&again.stderr));
    goes_on(&seen_by(copy, LOG));
    end(copy);
    std::fs::remove_file(LOG).expect("removed");
}

/// A copy cannot listen where the source still does.
pub(crate) fn stays() {
    let mut source = start(["perl", "-e", PROGRAM, "listen"]);
    goes_on(Path::new(LOG));
    let output = migrate(source.id(), &[]).output().expect("ms2m");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("rolled_back"), "{said}");
    goes_on(Path::new(LOG));
    // With its child.
    assert!(Command::new("pkill").args(["-KILL", "--session", &source.id().to_string()]).status().expect("pkill").success());
    source.wait().expect("a child");
    std::fs::remove_dir_all(WORK_DIR).expect("removed");
    std::fs::remove_file(LOG).expect("removed");
}
