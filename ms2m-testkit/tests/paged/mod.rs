//! A process made of pages that writes while it is dumped, and a target that puts the parts together again: what the suites'
//! cases of pre-dump rounds are tried on.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::TryStreamExt as _;
use ms2m_core::{
    ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, CopyStatus, Error, ErrorKind, MigrationId, Part,
    PreDump, Receipt, RestoreJob, RestoreTarget, Restored, Result, SourceStatus, TransferBackend,
};
use ms2m_testkit::memory_transfer::pieces;

const PAGES: usize = 64;
const PAGE_BYTES: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    /// Dumps against its latest dump, whatever has arrived.
    BuildsOnTheLatest,
    /// Forgets only the final part.
    KeepsRounds,
}

#[derive(Debug, Default)]
struct State {
    /// The last write to each page, counted.
    written: Vec<u64>,
    writes: u64,
    /// What had been written when a round was dumped.
    dumped_at: BTreeMap<u32, u64>,
    parts: HashMap<(MigrationId, Part), Bytes>,
    ended: bool,
}

/// The process.
#[derive(Debug)]
pub(crate) struct Paged(Mutex<State>, Option<Flaw>);

impl Paged {
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        Self(Mutex::new(State { written: vec![0; PAGES], ..State::default() }), flaw)
    }

    pub(crate) fn lives(&self) -> bool {
        !self.0.lock().unwrap().ended
    }

    fn dump(&self, job: &CheckpointJob, part: Part) -> (Checkpoint, u64) {
        let mut state = self.0.lock().unwrap();
        // It works while it is dumped.
        for step in 0..5 {
            state.writes += 1;
            let (page, now) = ((state.writes as usize * 7 + step) % PAGES, state.writes);
            state.written[page] = now;
        }
        let latest = state.dumped_at.keys().next_back().copied().filter(|_| self.1 == Some(Flaw::BuildsOnTheLatest));
        let parent = job.parent.map(|parent| latest.unwrap_or(parent));
        let since = parent.map(|parent| state.dumped_at[&parent]);
        let dirty: Vec<usize> = (0..PAGES).filter(|page| since.is_none_or(|since| state.written[*page] > since)).collect();
        let mut archive = Vec::new();
        for page in &dirty {
            archive.put_u64(*page as u64);
            archive.put_bytes(state.written[*page] as u8, PAGE_BYTES);
        }
        if let Part::Round(round) = part {
            let now = state.writes;
            state.dumped_at.insert(round, now);
        }
        let archive_bytes = archive.len() as u64;
        state.parts.insert((job.migration.clone(), part), archive.into());
        let (migration, freeze, manifest) = (job.migration.clone(), Duration::ZERO, BTreeMap::new());
        (Checkpoint { migration, part, parent, archive_bytes, freeze, manifest }, (dirty.len() * PAGE_BYTES) as u64)
    }

    /// Its parts after some rounds.
    pub(crate) async fn parts(&self, rounds: u32) -> Vec<Bytes> {
        let migration = MigrationId::new("parts").unwrap();
        let mut job = CheckpointJob { migration, parent: None, leave_running: true, deadline: Duration::from_secs(1) };
        let mut parts = Vec::new();
        for round in 1..=rounds {
            let done = self.pre_dump(&job, round).await.unwrap();
            parts.push(done.checkpoint);
            job.parent = Some(round);
        }
        parts.push(self.checkpoint(&job).await.unwrap());
        let state = self.0.lock().unwrap();
        parts.into_iter().map(|part| state.parts[&(part.migration, part.part)].clone()).collect()
    }
}

#[async_trait]
impl CheckpointSource for Paged {
    fn name(&self) -> &'static str {
        "paged"
    }

    fn capability(&self) -> CheckpointCapability {
        CheckpointCapability { pre_dump: true, leave_running: true, ..CheckpointCapability::default() }
    }

    async fn status(&self) -> Result<SourceStatus> {
        Ok(if self.lives() { SourceStatus::Present } else { SourceStatus::Gone })
    }

    async fn pre_dump(&self, job: &CheckpointJob, round: u32) -> Result<PreDump> {
        let (checkpoint, dirty_bytes) = self.dump(job, Part::Round(round));
        Ok(PreDump { checkpoint, dirty_bytes, memory_bytes: (PAGES * PAGE_BYTES) as u64 })
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        Ok(self.dump(job, Part::Final).0)
    }

    async fn open(&self, checkpoint: &Checkpoint, offset_bytes: u64) -> Result<ByteStream> {
        let state = self.0.lock().unwrap();
        let part = state.parts.get(&(checkpoint.migration.clone(), checkpoint.part));
        let bytes = part.ok_or_else(|| Error::fatal(ErrorKind::NotFound, "no such part"))?;
        Ok(pieces(bytes.slice((offset_bytes as usize).min(bytes.len())..)))
    }

    async fn retire(&self, _: &MigrationId) -> Result<()> {
        self.0.lock().unwrap().ended = true;
        Ok(())
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        let keeps = self.1 == Some(Flaw::KeepsRounds);
        self.0.lock().unwrap().parts.retain(|(id, part), _| id != migration || (keeps && *part != Part::Final));
        Ok(())
    }
}

/// Puts pages together. Takes what was staged from there.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    staged: Mutex<HashMap<(MigrationId, Part), Bytes>>,
    pub(crate) copies: Arc<Mutex<HashMap<MigrationId, Restored>>>,
}

impl Assembler {
    async fn fetch(&self, receipt: &Receipt, transfer: &dyn TransferBackend) -> Result<Bytes> {
        let staged = self.staged.lock().unwrap().get(&(receipt.migration.clone(), receipt.part)).cloned();
        match staged {
            Some(bytes) => Ok(bytes),
            None => Ok(transfer.open(receipt, 0).await?.try_collect::<Vec<_>>().await?.concat().into()),
        }
    }
}

#[async_trait]
impl RestoreTarget for Assembler {
    fn name(&self) -> &'static str {
        "assembler"
    }

    async fn prepare(&self, _: &RestoreJob) -> Result<()> {
        Ok(())
    }

    async fn stage(&self, _: &RestoreJob, receipt: &Receipt, transfer: Arc<dyn TransferBackend>) -> Result<()> {
        let bytes = self.fetch(receipt, &*transfer).await?;
        self.staged.lock().unwrap().insert((receipt.migration.clone(), receipt.part), bytes);
        Ok(())
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        if let Some(alive) = self.copies.lock().unwrap().get(&job.migration) {
            return Ok(alive.clone());
        }
        let mut pages = vec![None; PAGES];
        for receipt in receipts {
            let mut bytes = self.fetch(receipt, &*transfer).await?;
            while bytes.has_remaining() {
                let page = bytes.get_u64() as usize;
                pages[page] = Some(bytes.split_to(PAGE_BYTES));
            }
        }
        if pages.iter().any(Option::is_none) {
            return Err(Error::undo(ErrorKind::Corrupt, "a page is missing: the chain has no beginning"));
        }
        let restored = Restored { copy: job.copy.clone(), restore: Duration::ZERO };
        self.copies.lock().unwrap().insert(job.migration.clone(), restored.clone());
        Ok(restored)
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        Ok(if self.copies.lock().unwrap().contains_key(migration) { CopyStatus::Present } else { CopyStatus::Gone })
    }

    async fn promote(&self, _: &MigrationId) -> Result<()> {
        Ok(())
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.copies.lock().unwrap().remove(migration);
        self.staged.lock().unwrap().retain(|(id, _), _| id != migration);
        Ok(())
    }
}
