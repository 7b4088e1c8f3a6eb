//! What is checkpointed: a program without the SDK, in another language, that checks its own memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long it may take to write the first line, with all its memory, and the next one. Emulated, it is slow.
const FIRST_LINE: Duration = Duration::from_secs(180);
const NEXT_LINE: Duration = Duration::from_secs(20);
/// By it the program's processes are found, whoever is their parent.
const MARK: &str = "ms2m-checks-its-memory";

/// Every page holds its own number and when it was last written. Each turn writes a hundredth of them, further on each time, looks at all
/// of them, and writes a line: `NUMBER ok`. What is wrong it says, and stops; also when it has another priority than it gave itself.
const PROGRAM: &str = r#"
use strict;
my ($file, $pages) = @ARGV;
setpriority(0, 0, 3) or die;
open(my $log, '>>', $file) or die;
select((select($log), $| = 1)[0]);
my $heap = "\0" x ($pages * 4096);
my @written = (0) x $pages;
substr($heap, $_ * 4096, 16) = pack('QQ', $_, 0) for 0 .. $pages - 1;
my $window = int($pages / 100) || 1;
for (my $turn = 1; ; $turn++) {
    for my $at (0 .. $window - 1) {
        my $page = ($turn * $window + $at) % $pages;
        $written[$page] = $turn;
        substr($heap, $page * 4096, 16) = pack('QQ', $page, $turn);
    }
    for my $page (0 .. $pages - 1) {
        my ($number, $when) = unpack('QQ', substr($heap, $page * 4096, 16));
        if ($number != $page || $when != $written[$page]) {
            print $log "$turn page $page says $number $when instead of $written[$page]\n";
            exit 1;
        }
    }
    if (getpriority(0, 0) != 3) {
        print $log "$turn has the priority " . getpriority(0, 0) . "\n";
        exit 1;
    }
    print $log "$turn ok\n";
    select(undef, undef, undef, 0.01);
}
"#;

/// Its command line, when it writes to this file and has this much memory to look after.
pub(crate) fn words(log: &str, mebibytes: u32) -> Vec<String> {
    ["perl", "-e", PROGRAM, "--", log, &(mebibytes * 256).to_string(), MARK].map(str::to_owned).to_vec()
}

/// Writes the same hundredth of its memory again and again, and a line each time.
const HOT: &str = r#"
use strict;
my ($file, $pages) = @ARGV;
my $heap = "\0" x ($pages * 4096);
substr($heap, $_ * 4096, 8) = pack('Q', $_) for 0 .. $pages - 1;
open(my $log, '>>', $file) or die;
select((select($log), $| = 1)[0]);
for (my $turn = 1; ; $turn++) {
    substr($heap, $_ * 4096, 8) = pack('Q', $turn) for 0 .. int($pages / 100) - 1;
    print $log "$turn ok\n";
    select(undef, undef, undef, 0.05);
}
"#;

/// The command line of a program that writes a hundredth of this much memory.
pub(crate) fn hot(log: &str, mebibytes: u32) -> Vec<String> {
    ["perl", "-e", HOT, "--", log, &(mebibytes * 256).to_string(), MARK].map(str::to_owned).to_vec()
}

/// The lines so far. Panics when the program has found its memory wrong, or lines missing or doubled.
fn lines(log: &Path) -> usize {
    let text = fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (at, line) in whole.lines().enumerate() {
        assert_eq!(line, format!("{} ok", at + 1), "{}", log.display());
    }
    whole.lines().count()
}

/// Waits for its first line.
pub(crate) fn begins(log: &Path) {
    let begun = Instant::now();
    while lines(log) == 0 {
        assert!(begun.elapsed() < FIRST_LINE, "it does not begin");
        sleep(Duration::from_millis(10));
    }
}

/// Whether it works: writes another line.
pub(crate) fn works(log: &Path) -> bool {
    let (before, begun) = (lines(log), Instant::now());
    while lines(log) == before {
        // Nobody left to write one.
        if processes().is_empty() || begun.elapsed() > NEXT_LINE {
            return false;
        }
        sleep(Duration::from_millis(10));
    }
    true
}

/// The living processes of all programs and copies.
pub(crate) fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| is_one(&PathBuf::from(format!("/proc/{pid}")))).collect()
}

fn is_one(process: &Path) -> bool {
    // A zombie has no command line any more.
    let command = fs::read(process.join("cmdline")).unwrap_or_default();
    command.split(|byte| *byte == 0).rfind(|word| !word.is_empty()) == Some(MARK.as_bytes()) && command.starts_with(b"perl")
}

/// Ends them all.
pub(crate) fn kill_all() {
    for pid in processes() {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    let begun = Instant::now();
    while !processes().is_empty() {
        assert!(begun.elapsed() < NEXT_LINE, "killed, and still there");
        sleep(Duration::from_millis(5));
    }
}
