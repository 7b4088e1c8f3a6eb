//! CRIU's own figures about a dump.

use std::io;
use std::path::Path;
use std::time::Duration;

use prost::Message;

use super::error::CriuError;

/// Two words in front: the magic of an image, and that of statistics. Then one length, and the message.
const MAGICS: [u32; 2] = [0x5510_5940, 0x5709_3306];
const HEADER: usize = 12;
/// Statistics are some 60 bytes.
const BYTES_MAX: u64 = 64 << 10;
const FILE: &str = "stats-dump";

/// What a dump did and how long it took, as measured by CRIU itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DumpStats {
    /// Stopping the tasks, from the first one on.
    pub freezing: Duration,
    /// All tasks stopped, until the first one goes on again.
    pub frozen: Duration,
    /// Collecting memory, while frozen.
    pub memdump: Duration,
    /// Writing memory to the images; after the freeze in a pre-dump.
    pub memwrite: Duration,
    /// Pages looked at.
    pub pages_scanned: u64,
    /// Pages that the parent images have already.
    pub pages_skipped_parent: u64,
    /// Pages written.
    pub pages_written: u64,
    /// Pages left out for a lazy restore.
    pub pages_lazy: u64,
}

impl DumpStats {
    /// How long at least one task stood still: stopping them, and the time in which all were stopped.
    #[must_use]
    pub fn freeze(&self) -> Duration {
        self.freezing + self.frozen
    }

    /// Reads the `stats-dump` that CRIU left in its work directory.
    ///
    /// # Errors
    /// [`CriuError::Io`] when there is none, or none that can be understood.
    pub fn read(work_dir: &Path) -> Result<Self, CriuError> {
        let path = work_dir.join(FILE);
        let failed = |error: io::Error| CriuError::io("reading CRIU's statistics", path.clone(), error);
        if std::fs::metadata(&path).map_err(failed)?.len() > BYTES_MAX {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "too large for statistics")));
        }
        Self::decode(&std::fs::read(&path).map_err(failed)?).map_err(|why| failed(io::Error::new(io::ErrorKind::InvalidData, why)))
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let word = |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes).ok_or("cut off");
        if [word(0)?, word(4)?] != MAGICS {
            return Err("not a file of statistics".to_owned());
        }
        let length = word(8)? as usize;
        let message = bytes.get(HEADER..).and_then(|rest| rest.get(..length)).ok_or("cut off")?;
        let entry = Entry::decode(message).map_err(|error| error.to_string())?;
        let dump = entry.dump.ok_or("no figures about a dump")?;
        let micros = |us: u32| Duration::from_micros(us.into());
        // Pages of shared memory are counted apart.
        let both = |private: u64, shared: Option<u64>| private.saturating_add(shared.unwrap_or_default());
        Ok(Self {
            freezing: micros(dump.freezing_us),
            frozen: micros(dump.frozen_us),
            memdump: micros(dump.memdump_us),
            memwrite: micros(dump.memwrite_us),
            pages_scanned: both(dump.pages_scanned, dump.shpages_scanned),
            pages_skipped_parent: both(dump.pages_skipped_parent, dump.shpages_skipped_parent),
            pages_written: both(dump.pages_written, dump.shpages_written),
            pages_lazy: dump.pages_lazy,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(message, optional, tag = "1")]
    dump: Option<DumpEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct DumpEntry {
    #[prost(uint32, required, tag = "1")]
    freezing_us: u32,
    #[prost(uint32, required, tag = "2")]
    frozen_us: u32,
    #[prost(uint32, required, tag = "3")]
    memdump_us: u32,
    #[prost(uint32, required, tag = "4")]
    memwrite_us: u32,
    #[prost(uint64, required, tag = "5")]
    pages_scanned: u64,
    #[prost(uint64, required, tag = "6")]
    pages_skipped_parent: u64,
    #[prost(uint64, required, tag = "7")]
    pages_written: u64,
    #[prost(uint64, required, tag = "9")]
    pages_lazy: u64,
    #[prost(uint64, optional, tag = "12")]
    shpages_scanned: Option<u64>,
    #[prost(uint64, optional, tag = "13")]
    shpages_skipped_parent: Option<u64>,
    #[prost(uint64, optional, tag = "14")]
    shpages_written: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(magics: [u32; 2], message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).expect("short");
        [magics[0], magics[1], length].iter().flat_map(|word| word.to_le_bytes()).chain(message.iter().copied()).collect()
    }

    #[test]
    fn the_freeze_is_stopping_and_standing_still() {
        let dump = DumpEntry { freezing_us: 1_500, frozen_us: 30_000, pages_written: 7, shpages_written: Some(3), ..DumpEntry::default() };
        let bytes = file(MAGICS, &Entry { dump: Some(dump) }.encode_to_vec());
        let stats = DumpStats::decode(&bytes).expect("decoded");
        assert_eq!((stats.freeze(), stats.pages_written), (Duration::from_micros(31_500), 10));
        for cut in 0..bytes.len() {
            DumpStats::decode(&bytes[..cut]).expect_err("cut off");
        }
        DumpStats::decode(&file([0, 1], &[])).expect_err("another file");
        DumpStats::decode(&file(MAGICS, &[])).expect_err("nothing about a dump");
    }
}
