//! The archive that is packed and moved.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;

use crate::args::Size;

/// A real one of containerd, made as large as is wanted by a file of pages. Dense pages are noise, which nothing compresses; sparse ones are
/// a hole. It is in the page cache, as an archive is that was just written.
pub(crate) struct Archive {
    pub(crate) path: PathBuf,
    pub(crate) size: Size,
}

impl Archive {
    pub(crate) fn make(home: &Path, size: Size) -> Result<Self> {
        let path = home.join("archive.tar");
        write(&path, size).with_context(|| format!("{} cannot be written; --directory names another place", path.display()))?;
        Ok(Self { path, size })
    }

    pub(crate) fn bytes(&self) -> Result<u64> {
        Ok(self.path.metadata()?.len())
    }

    pub(crate) fn remove(self) -> Result<()> {
        Ok(std::fs::remove_file(self.path)?)
    }
}

/// What containerd has written of a small container, in front of the pages.
const REAL: &[u8] = include_bytes!("../../../ms2m-criu/tests/fixtures/containerd.tar.gz");

fn write(path: &Path, size: Size) -> Result<()> {
    let mut real = Vec::new();
    GzDecoder::new(REAL).read_to_end(&mut real)?;
    let mut file = File::create(path)?;
    file.write_all(&real[..end_of_members(&real)?])?;
    file.write_all(header(size.bytes)?.as_bytes())?;
    if !size.sparse {
        let (mut state, mut piece) = (1_u64, vec![0_u8; 1 << 20]);
        for _ in 0..size.bytes >> 20 {
            for word in piece.chunks_exact_mut(8) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                word.copy_from_slice(&(state ^ (state >> 29)).to_le_bytes());
            }
            file.write_all(&piece)?;
        }
    }
    // A tar ends with two blocks of zeros.
    let pages_end = end_of_members(&real)? as u64 + 512 + size.bytes;
    file.set_len(pages_end + 2 * 512)?;
    Ok(file.sync_all()?)
}

fn end_of_members(tar: &[u8]) -> Result<usize> {
    let mut end = 0;
    for member in tar::Archive::new(tar).entries()? {
        let member = member?;
        end = member.raw_file_position() + member.size().next_multiple_of(512);
    }
    Ok(usize::try_from(end)?)
}

fn header(bytes: u64) -> Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path("checkpoint/pages-99.img")?;
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_cksum();
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_tar_with_pages_of_the_size_that_was_asked_for() {
        let home = tempfile::tempdir().unwrap();
        for sparse in [false, true] {
            let archive = Archive::make(home.path(), Size { bytes: 3 << 20, sparse }).unwrap();
            let mut tar = tar::Archive::new(File::open(&archive.path).unwrap());
            let members = tar.entries().unwrap().map(|member| member.map(|member| (member.path().unwrap().into_owned(), member.size())));
            let members: Vec<_> = members.collect::<Result<_, _>>().unwrap();
            assert!(members.iter().any(|(path, _)| path == Path::new("config.dump")), "{members:?}");
            assert_eq!(members.last(), Some(&("checkpoint/pages-99.img".into(), 3 << 20)));
            archive.remove().unwrap();
        }
    }
}
