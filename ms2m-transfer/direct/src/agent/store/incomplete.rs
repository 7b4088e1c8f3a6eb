//! [`Incomplete`]: a part on its way to the disk. Its methods block: they are called in threads of their own.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind as IoKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ms2m_core::{Digest, DigestAlgorithm, Error, ErrorKind, Hasher, Result};

use super::{failed, room};
use crate::wire::{MARK_BYTES, PIECE_BYTES};

/// The digest of the first so many bytes, fit to go on from.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) bytes: u64,
    hash: Hasher,
    /// The states at the multiples of [`MARK_BYTES`] before.
    marks: Vec<(u64, Hasher)>,
}

impl Progress {
    fn new(algorithm: DigestAlgorithm) -> Self {
        Self { bytes: 0, hash: algorithm.hasher(), marks: Vec::new() }
    }

    fn advance(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let until_mark = MARK_BYTES - self.bytes % MARK_BYTES;
            let (now, later) = piece.split_at(piece.len().min(usize::try_from(until_mark).unwrap_or(usize::MAX)));
            self.hash.update(now);
            self.bytes += now.len() as u64;
            if self.bytes.is_multiple_of(MARK_BYTES) {
                self.marks.push((self.bytes, self.hash.clone()));
            }
            piece = later;
        }
    }

    fn digest(&self) -> Digest {
        digest(&self.hash)
    }
}

fn digest(hash: &Hasher) -> Digest {
    hash.clone().finalize()
}

/// A file that grows, and the digest of what is in it.
#[derive(Debug)]
pub(crate) struct Incomplete {
    file: File,
    path: PathBuf,
    progress: Progress,
    algorithm: DigestAlgorithm,
    archive_bytes: u64,
}

impl Incomplete {
    /// Opens or makes the file, and reserves the room for all of it. What an earlier connection has left in it is kept; its digest is
    /// that of `known`, if this fits, or computed again.
    pub(super) fn open(
        path: PathBuf,
        archive_bytes: u64,
        algorithm: DigestAlgorithm,
        known: Option<Progress>,
        free_bytes_min: u64,
    ) -> Result<Self> {
        let file = create(&path)?;
        let mut new = Self { file, path, progress: Progress::new(algorithm), algorithm, archive_bytes };
        let length = new.file.metadata().map_err(failed("read", &new.path))?.len();
        match known {
            // More can be in the file when its writer was killed: what is not known does not count.
            Some(known) if known.bytes <= length => new.progress = known,
            _ => new.reread()?,
        }
        if new.progress.bytes > archive_bytes {
            // Of another checkpoint.
            new.progress = Progress::new(algorithm);
        }
        new.back_to(new.progress.bytes)?;
        room::reserve(&new.file, &new.path, new.progress.bytes, archive_bytes, free_bytes_min).inspect_err(|_| new.remove_if_empty())?;
        Ok(new)
    }

    fn reread(&mut self) -> Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match self.file.read(&mut piece).map_err(failed("read", &self.path))? {
                0 => return Ok(()),
                bytes => self.progress.advance(&piece[..bytes]),
            }
        }
    }

    fn remove_if_empty(&self) {
        if self.progress.bytes == 0 {
            self.remove();
        }
    }

    /// Bytes that are there.
    pub(crate) fn bytes(&self) -> u64 {
        self.progress.bytes
    }

    pub(crate) fn archive_bytes(&self) -> u64 {
        self.archive_bytes
    }

    /// From where a sender can go on, with the digest of all before: the marks, and the end.
    pub(crate) fn marks(&self) -> Vec<(u64, Digest)> {
        let mut marks: Vec<_> = self.progress.marks.iter().map(|(bytes, hash)| (*bytes, digest(hash))).collect();
        if self.progress.bytes > marks.last().map_or(0, |(bytes, _)| *bytes) {
            marks.push((self.progress.bytes, self.progress.digest()));
        }
        marks
    }

    /// Forgets what comes after; `bytes` is the start, a mark or the end.
    pub(crate) fn back_to(&mut self, bytes: u64) -> Result<()> {
        if bytes != self.progress.bytes {
            let mut known = std::mem::replace(&mut self.progress, Progress::new(self.algorithm));
            known.marks.retain(|(at, _)| *at <= bytes);
            known.hash = match known.marks.last() {
                Some((at, hash)) if *at == bytes => hash.clone(),
                _ if bytes == 0 => self.algorithm.hasher(),
                _ => return Err(Error::undo(ErrorKind::Invalid, "the client goes on from where it cannot").with("bytes", bytes)),
            };
            self.progress = Progress { bytes, ..known };
        }
        self.file.set_len(bytes).map_err(failed("cut", &self.path))?;
        self.file.seek(SeekFrom::Start(bytes)).map_err(failed("written", &self.path))?;
        Ok(())
    }

    /// Digests and writes.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.file.write_all(piece).map_err(failed("written", &self.path))?;
        self.progress.advance(piece);
        Ok(())
    }

    /// All bytes are there and are those that were sent.
    pub(crate) fn check(&self, expected: Option<Digest>) -> Result<Digest> {
        if self.progress.bytes != self.archive_bytes {
            let message =
                format!("the checkpoint has {} bytes instead of the {} that were announced", self.progress.bytes, self.archive_bytes);
            return Err(Error::undo(ErrorKind::Corrupt, message));
        }
        let found = self.progress.digest();
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            let message = "what has arrived is not what was sent, and is removed; migrate again";
            return Err(Error::undo(ErrorKind::Corrupt, message).with("expected", expected).with("found", found));
        }
        Ok(found)
    }

    /// Whatever it was announced with, it ends here.
    pub(crate) fn end(&mut self) {
        self.archive_bytes = self.progress.bytes;
    }

    /// Gives it its name.
    pub(super) fn publish(self, to: &Path) -> Result<()> {
        make_directory(to.parent().unwrap_or(to))?;
        std::fs::rename(&self.path, to).map_err(failed("renamed", &self.path))
    }

    pub(crate) fn remove(&self) {
        // Missing is as good; what cannot be removed is tried again by the collection of orphans.
        let _ = std::fs::remove_file(&self.path);
    }

    pub(super) fn into_progress(self) -> Progress {
        self.progress
    }
}

fn create(path: &Path) -> Result<File> {
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let directory = path.parent().unwrap_or(path);
    // The directory may be removed at any time by those who clean up: again, but not for ever.
    for _ in 0..8 {
        make_directory(directory)?;
        match open() {
            Err(error) if error.kind() == IoKind::NotFound => {}
            opened => return opened.map_err(failed("made", path)),
        }
    }
    open().map_err(failed("made", path))
}

fn make_directory(directory: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed("made", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGORITHM: DigestAlgorithm = DigestAlgorithm::Sha256;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    #[test]
    fn it_goes_on_with_and_without_knowing_the_digest() {
        let directory = tempfile::tempdir().unwrap();
        let all = bytes(9 << 20);
        for known in [true, false] {
            let path = directory.path().join(format!("m-{known}/.final.part"));
            let mut first = Incomplete::open(path.clone(), all.len() as u64, ALGORITHM, None, 0).unwrap();
            first.write(&all[..5 << 20]).unwrap();
            first.write(&all[5 << 20..(5 << 20) + 3]).unwrap();
            let progress = known.then(|| first.into_progress());
            let mut second = Incomplete::open(path.clone(), all.len() as u64, ALGORITHM, progress, 0).unwrap();
            let marks: Vec<u64> = second.marks().iter().map(|(bytes, _)| *bytes).collect();
            assert_eq!(marks, [4 << 20, (5 << 20) + 3]);
            for (at, digest) in second.marks() {
                assert_eq!(digest, Digest::of(&all[..at as usize]));
            }
            second.back_to(4 << 20).unwrap();
            second.write(&all[4 << 20..]).unwrap();
            assert_eq!(second.check(None).unwrap(), Digest::of(&all));
            second.publish(&directory.path().join("m/final")).unwrap();
            assert!(std::fs::read(directory.path().join("m/final")).unwrap() == all);
            assert!(!path.exists());
        }
    }

    #[test]
    fn it_goes_back_to_a_mark_only() {
        let directory = tempfile::tempdir().unwrap();
        let mut incomplete = Incomplete::open(directory.path().join("m/.final.part"), 100, ALGORITHM, None, 0).unwrap();
        incomplete.write(&bytes(50)).unwrap();
        assert_eq!(incomplete.back_to(20).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_smaller_checkpoint_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m/.final.part");
        Incomplete::open(path.clone(), 100, ALGORITHM, None, 0).unwrap().write(&bytes(50)).unwrap();
        let second = Incomplete::open(path.clone(), 20, ALGORITHM, None, 0).unwrap();
        assert_eq!((second.bytes(), std::fs::metadata(path).unwrap().len()), (0, 0));
    }

    #[test]
    fn no_room_is_said_before_the_first_byte_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m/.final.part");
        for (bytes, kept) in [(1 << 50, 0), (1, 1 << 60)] {
            let error = Incomplete::open(path.clone(), bytes, ALGORITHM, None, kept).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error:?}");
            assert!(!path.exists());
        }
    }
}
