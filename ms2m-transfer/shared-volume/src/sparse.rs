//! A file whose long runs of zeroes become holes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// Shorter runs are written: each hole costs the file system a record.
pub(crate) const HOLE_BYTES_MIN: usize = 64 << 10;
/// What is looked at as one, of the size that file systems keep.
const BLOCK_BYTES: usize = 4096;

static ZEROES: [u8; HOLE_BYTES_MIN] = [0; HOLE_BYTES_MIN];

/// Writes from the start to the end.
#[derive(Debug)]
pub(crate) struct Sparse<'a> {
    file: &'a File,
    /// Bytes taken so far.
    at: u64,
    /// Zeroes at their end that are not written yet.
    zeroes: u64,
}

impl<'a> Sparse<'a> {
    pub(crate) fn new(file: &'a File) -> Self {
        Self { file, at: 0, zeroes: 0 }
    }

    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        // Bytes of this piece to be written in one call; short runs of zeroes are among them.
        let mut run: Option<Range<usize>> = None;
        let mut from = 0;
        for block in piece.chunks(BLOCK_BYTES) {
            let to = from + block.len();
            if *block == ZEROES[..block.len()] {
                self.zeroes += block.len() as u64;
            } else {
                let hole = self.zeroes >= HOLE_BYTES_MIN as u64;
                run = Some(match run {
                    Some(run) if !hole => run.start..to,
                    Some(run) => {
                        self.put(piece, &run)?;
                        from..to
                    }
                    None if hole => from..to,
                    None => {
                        // Of earlier pieces, not long enough for a hole.
                        let before = usize::try_from(self.zeroes).unwrap_or(0).saturating_sub(from);
                        self.file.write_all_at(&ZEROES[..before], self.at - before as u64)?;
                        0..to
                    }
                });
                self.zeroes = 0;
            }
            from = to;
        }
        if let Some(run) = run {
            self.put(piece, &run)?;
        }
        self.at += piece.len() as u64;
        Ok(())
    }

    fn put(&self, piece: &[u8], run: &Range<usize>) -> io::Result<()> {
        self.file.write_all_at(&piece[run.clone()], self.at + run.start as u64)
    }

    /// Gives the file its size: zeroes at its end are a hole too.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.file.set_len(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// Writes runs of zeroes and of ones, in pieces of a size; returns how much of the file is on disk.
    fn written(runs: &[(u8, usize)], piece_bytes: usize) -> u64 {
        let all: Vec<u8> = runs.iter().flat_map(|(byte, count)| std::iter::repeat_n(*byte, *count)).collect();
        let named = tempfile::NamedTempFile::new().unwrap();
        let mut sparse = Sparse::new(named.as_file());
        all.chunks(piece_bytes).for_each(|piece| sparse.write(piece).unwrap());
        sparse.finish().unwrap();
        assert!(std::fs::read(named.path()).unwrap() == all, "{runs:?} in pieces of {piece_bytes}");
        named.as_file().metadata().unwrap().blocks() * 512
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let sizes = [1, 4095, 4096, 65_535, 65_536, 65_537, 200_000];
        for piece_bytes in [4096, 5000, 65_536, 70_001, 1 << 20] {
            for zeroes in sizes {
                for ones in sizes {
                    written(&[(0, zeroes), (1, ones), (0, zeroes)], piece_bytes);
                    written(&[(1, ones), (0, zeroes), (1, ones), (0, zeroes), (1, 1)], piece_bytes);
                }
            }
        }
        written(&[], 4096);
        written(&[(1, 3000), (0, 70_000), (1, 10)], 7);
    }

    #[test]
    fn long_runs_take_no_room() {
        assert!(written(&[(1, 1 << 20), (0, 64 << 20), (1, 1 << 20)], 1 << 20) < 4 << 20);
        assert!(written(&[(0, 64 << 20)], 1 << 20) < 1 << 20);
        assert!(written(&[(1, 64 << 20)], 1 << 20) >= 64 << 20);
    }
}
