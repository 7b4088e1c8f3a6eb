//! A process with a memory, for tests that move it: fills so many MiB at random, counts, and prints a line now and then,
//! `IDENTITY COUNT SUM`: who it is since it was started, how far it is, and the sum of its whole memory, which must stay.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let Some(mebibytes) = std::env::args().nth(1).and_then(|text| text.parse::<usize>().ok()) else {
        eprintln!("usage: ms2m-memory-counter MEBIBYTES");
        return ExitCode::from(2);
    };
    let identity = RandomState::new().hash_one(0_u64) | 1;
    let mut word = identity;
    let memory: Vec<u64> = std::iter::repeat_with(|| next(&mut word)).take(mebibytes << 17).collect();
    for count in 1_u64.. {
        let sum = memory.iter().fold(0_u64, |sum, word| sum.wrapping_add(*word));
        // Nobody may read any more.
        let _ = writeln!(std::io::stdout(), "{identity:016x} {count} {sum:016x}");
        sleep(EVERY);
    }
    ExitCode::SUCCESS
}

/// Marsaglia's xorshift.
fn next(word: &mut u64) -> u64 {
    *word ^= *word << 13;
    *word ^= *word >> 7;
    *word ^= *word << 17;
    *word
}
