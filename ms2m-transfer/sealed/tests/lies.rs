//! A backend that lies about what it was given.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use ms2m_core::{
    ByteStream, Digest, Error, ErrorKind, MigrationId, Part, Receipt, Result, TransferBackend, TransferCapability, TransferJob,
};
use ms2m_testkit::memory_transfer::pieces;
use ms2m_transfer_sealed::{Key, Sealed};

/// Holds one part, and gives out whatever it is made to hold, without a word.
#[derive(Debug, Default)]
struct Liar {
    held: Mutex<Vec<u8>>,
    breaks_at: Mutex<Option<usize>>,
}

#[async_trait]
impl TransferBackend for Liar {
    fn name(&self) -> &'static str {
        "liar"
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability { resumes: false, bytes_max: None }
    }

    async fn send(&self, job: &TransferJob, mut body: ByteStream) -> Result<Receipt> {
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece?);
        }
        assert_eq!(bytes.len() as u64, job.archive_bytes, "the announced length is the length");
        let (digest, transferred_bytes) = (Digest::of(&bytes), job.archive_bytes);
        *self.held.lock().unwrap() = bytes;
        let (migration, part, archive_bytes, location) = (job.migration.clone(), job.part, job.archive_bytes, "liar".into());
        Ok(Receipt { migration, part, digest, archive_bytes, transferred_bytes, location })
    }

    async fn open(&self, _: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        let held = self.held.lock().unwrap().clone();
        let rest = held.get(usize::try_from(offset_bytes).unwrap()..).unwrap_or_default().to_vec();
        match *self.breaks_at.lock().unwrap() {
            None => Ok(pieces(rest.into())),
            Some(at) => {
                let broken = Err(Error::retry(ErrorKind::Unavailable, "the wire is cut"));
                Ok(Box::pin(pieces(Bytes::from(rest).slice(..at)).chain(futures_util::stream::iter([broken]))))
            }
        }
    }

    async fn discard(&self, _: &MigrationId) -> Result<()> {
        Ok(())
    }
}

const CHUNK: usize = 64 << 10;
const SEALED_CHUNK: usize = CHUNK + 16;
/// More than one piece of the stream, and a last chunk that is not whole.
const BYTES: usize = 20 * CHUNK + 1000;

struct Stage {
    liar: Arc<Liar>,
    sealed: Sealed,
    receipt: Receipt,
    plain: Bytes,
    header: usize,
}

async fn stage(bytes: usize) -> Stage {
    let liar = Arc::new(Liar::default());
    let sealed = Sealed::with_key(liar.clone(), Key::generate());
    let plain: Bytes = (0..bytes).map(|at| (at / 11) as u8).collect::<Vec<_>>().into();
    let job = TransferJob {
        migration: MigrationId::new("lies").unwrap(),
        part: Part::Final,
        archive_bytes: bytes as u64,
        deadline: Duration::from_secs(30),
    };
    let receipt = sealed.send(&job, pieces(plain.clone())).await.unwrap();
    let header = liar.held.lock().unwrap().len() - bytes - bytes.div_ceil(CHUNK) * 16;
    Stage { liar, sealed, receipt, plain, header }
}

impl Stage {
    /// Reads until an error comes, which must come, and after nothing but true bytes, never all of them.
    async fn error(&self, what: &str, offset: usize) -> Error {
        let mut stream = match self.sealed.open(&self.receipt, offset as u64).await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        let mut at = offset;
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => {
                    assert!(self.plain.get(at..at + piece.len()) == Some(&piece[..]), "{what}: a byte came that was not sent");
                    at += piece.len();
                    assert!(at < self.plain.len(), "{what}: the last byte came before the error");
                }
                Err(error) => return error,
            }
        }
        panic!("{what}: nothing was noticed");
    }
}

#[tokio::test]
async fn every_lie_is_noticed_before_the_last_byte() {
    type Lie = (&'static str, fn(&mut Vec<u8>, usize));
    // Whoever reads from behind these never meets them.
    let behind = [("a bit of the first chunk", CHUNK), ("two chunks are swapped", 3 * CHUNK)];
    let lies: [Lie; 14] = [
        ("a bit of the header", |held, _| held[30] ^= 1),
        ("a bit of the nonce", |held, header| held[header - 1] ^= 1),
        ("a bit of the first chunk", |held, header| held[header] ^= 1),
        ("a bit in the middle", |held, header| held[header + 9 * SEALED_CHUNK + 77] ^= 0x80),
        ("a bit of the last tag", |held, _| *held.last_mut().unwrap() ^= 1),
        ("a chunk is missing", |held, header| {
            held.drain(header + 3 * SEALED_CHUNK..header + 4 * SEALED_CHUNK);
        }),
        ("two chunks are swapped", |held, header| {
            let chunks = &mut held[header + SEALED_CHUNK..header + 3 * SEALED_CHUNK];
            chunks.rotate_left(SEALED_CHUNK);
        }),
        ("a chunk comes twice", |held, header| {
            let chunk = held[header..header + SEALED_CHUNK].to_vec();
            held.splice(header..header, chunk);
        }),
        ("cut at the border of a chunk", |held, header| held.truncate(header + 20 * SEALED_CHUNK)),
        ("cut within a chunk", |held, header| held.truncate(header + 12 * SEALED_CHUNK + 5)),
        ("cut by one byte", |held, _| {
            held.pop();
        }),
        ("cut within the header", |held, header| held.truncate(header / 2)),
        ("nothing", |held, _| held.clear()),
        ("something behind the end", |held, _| held.push(0)),
    ];
    for (what, lie) in lies {
        for offset in [0, 1, CHUNK, 5 * CHUNK + 3] {
            if behind.iter().any(|(lie, from)| *lie == what && offset >= *from) {
                continue;
            }
            let stage = stage(BYTES).await;
            lie(&mut stage.liar.held.lock().unwrap(), stage.header);
            let error = stage.error(what, offset).await;
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}, from {offset}: {error:?}");
        }
    }
}

/// Anybody can encrypt for the target, but nobody else can make what the receipt names.
#[tokio::test]
async fn another_file_for_the_same_target_is_noticed_at_once() {
    let stage = stage(BYTES).await;
    let job = TransferJob {
        migration: stage.receipt.migration.clone(),
        part: Part::Final,
        archive_bytes: BYTES as u64,
        deadline: Duration::from_secs(30),
    };
    // Even the same bytes: this is a replay of another sending.
    stage.sealed.send(&job, pieces(stage.plain.clone())).await.unwrap();
    for offset in [0, 3 * CHUNK as u64] {
        assert_eq!(stage.sealed.open(&stage.receipt, offset).await.err().unwrap().kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn a_short_or_empty_part_is_as_safe() {
    for bytes in [0, 1, CHUNK, 8 * CHUNK] {
        for cut in [1, 16] {
            let stage = stage(bytes).await;
            let mut held = std::mem::take(&mut *stage.liar.held.lock().unwrap());
            held.truncate(held.len() - cut);
            *stage.liar.held.lock().unwrap() = held;
            assert_eq!(stage.error("cut", 0).await.kind(), ErrorKind::Corrupt, "{bytes} bytes, cut by {cut}");
        }
    }
}

#[tokio::test]
async fn the_backends_own_error_is_told_as_it_is() {
    let stage = stage(BYTES).await;
    *stage.liar.breaks_at.lock().unwrap() = Some(10 * CHUNK);
    let error = stage.error("a cut wire", 0).await;
    assert_eq!((error.kind(), error.message().as_str()), (ErrorKind::Unavailable, "the wire is cut"));
}
