//! Gathers documents and sizes from an archive or a directory. Pages stay where they are.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use super::InspectError;
use super::model::{Sizes, Source, SourceKind};
use crate::archive::{ArchiveError, Input, Kind, Limits, MANIFEST, OpenInput, Reader, open};
use crate::image::{self, ImageError};

/// How much of `dump.log` is read: its versions stand at the top.
const LOG_BYTES: u64 = 64 << 10;

/// Everything that is needed of a checkpoint.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) source: Source,
    pub(super) manifest: Option<Vec<u8>>,
    /// By container; the empty name is the only one of an engine's archive.
    pub(super) parts: BTreeMap<String, Part>,
}

/// One container's.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) documents: BTreeMap<String, Vec<u8>>,
    pub(super) images: BTreeMap<String, Vec<u8>>,
    pub(super) sizes: Sizes,
    /// By directory: bytes and page maps.
    pub(super) rounds: BTreeMap<String, (u64, BTreeMap<String, Vec<u8>>)>,
}

/// What a member is to be read for.
enum Want {
    Nothing,
    Document,
    Log,
    Image,
    Round,
}

pub(super) fn collect(path: &Path, limits: &Limits) -> Result<Collected, InspectError> {
    let io = |error| ArchiveError::io(format!("looking at {}", path.display()), error);
    let metadata = fs::metadata(path).map_err(io)?;
    let not = |reason: &str| InspectError::NotACheckpoint { path: path.display().to_string(), reason: reason.into() };
    let mut collected = Collected {
        source: Source {
            path: path.display().to_string(),
            kind: SourceKind::Archive,
            compression: None,
            bytes: metadata.len(),
            members: 0,
        },
        manifest: None,
        parts: BTreeMap::new(),
    };
    let mut budget = image::limits::TOTAL_BYTES;
    if metadata.is_file() {
        let OpenInput { compression, input } = open(&path.canonicalize().map_err(io)?, limits)?;
        collected.source.compression = Some(compression);
        collected.archive(input, limits, &mut budget)?;
    } else {
        if path.join("index.json").exists() {
            return Err(not("is an OCI layout; open it, and give its layer as a stream"));
        }
        collected.source.bytes = 0;
        // A bare directory of images is looked at as if it were the `checkpoint` of an archive.
        let bare = path.join("inventory.img").exists();
        collected.source.kind = if bare { SourceKind::Images } else { SourceKind::Directory };
        directory(&mut collected, path, if bare { "checkpoint/" } else { "" }, limits, &mut budget, 0)?;
    }
    collected.not_empty()
}

/// The same of an archive's plain bytes, which are read to their end.
pub(super) fn collect_stream(source: Source, input: impl Input, limits: &Limits) -> Result<Collected, InspectError> {
    let mut collected = Collected { source, manifest: None, parts: BTreeMap::new() };
    collected.archive(input, limits, &mut { image::limits::TOTAL_BYTES })?;
    collected.not_empty()
}

fn directory(
    collected: &mut Collected,
    path: &Path,
    prefix: &str,
    limits: &Limits,
    budget: &mut u64,
    depth: usize,
) -> Result<(), InspectError> {
    let io = |error| ArchiveError::io(format!("looking at {}", path.display()), error);
    if depth > limits.depth {
        return Err(
            ArchiveError::pack(path.display(), "is deeper than an archive may be; give the directory of the checkpoint itself").into()
        );
    }
    for entry in fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?;
        let (kind, below) = (entry.file_type().map_err(io)?, entry.path());
        let Ok(base) = entry.file_name().into_string() else { continue };
        let name = format!("{prefix}{base}");
        if kind.is_dir() {
            directory(collected, &below, &format!("{name}/"), limits, budget, depth + 1)?;
        } else if kind.is_file() {
            let size = entry.metadata().map_err(io)?.len();
            if collected.source.members >= u64::from(limits.members) {
                return Err(
                    ArchiveError::pack(path.display(), "has more files than an archive may; give the directory of the checkpoint").into()
                );
            }
            collected.source.bytes += size;
            collected.member(&name, size, limits, budget, &mut |most| {
                let io = |error| ArchiveError::io(format!("reading {}", below.display()), error);
                let mut content = Vec::new();
                fs::File::open(&below).map_err(io)?.take(most).read_to_end(&mut content).map_err(io)?;
                Ok(content)
            })?;
        }
    }
    Ok(())
}

type ReadStart<'a> = dyn FnMut(u64) -> Result<Vec<u8>, InspectError> + 'a;

impl Collected {
    fn archive(&mut self, input: impl Input, limits: &Limits, budget: &mut u64) -> Result<(), InspectError> {
        let mut reader = Reader::new(input, *limits);
        while let Some(member) = reader.next_member()? {
            if member.kind == Kind::File {
                self.member(&member.name, member.size, limits, budget, &mut |most| Ok(reader.read_start(most)?))?;
            }
        }
        Ok(())
    }

    fn not_empty(self) -> Result<Self, InspectError> {
        let empty = self.parts.values().all(|part| part.images.is_empty() && part.documents.is_empty());
        if empty && self.manifest.is_none() {
            let reason = "holds no checkpoint: give an archive of containerd, CRI-O, podman or ms2m, or a directory with CRIU's images";
            return Err(InspectError::NotACheckpoint { path: self.source.path, reason: reason.into() });
        }
        Ok(self)
    }

    fn member(&mut self, name: &str, size: u64, limits: &Limits, budget: &mut u64, read: &mut ReadStart<'_>) -> Result<(), InspectError> {
        self.source.members += 1;
        if name == MANIFEST {
            self.manifest = Some(document(name, size, limits.document_bytes, budget, read)?);
            return Ok(());
        }
        let (container, rest) = match name.strip_prefix("containers/").and_then(|rest| rest.split_once('/')) {
            Some((container, rest)) => (container, rest),
            None => ("", name),
        };
        if !self.parts.contains_key(container) && self.parts.len() > crate::archive::Manifest::CONTAINERS {
            return Err(ArchiveError::pack(name, "belongs to one container more than a checkpoint may have").into());
        }
        let part = self.parts.entry(container.to_owned()).or_default();
        let (top, base) = rest.split_once('/').unwrap_or(("", rest));
        match part.count(top, base, size) {
            Want::Nothing => {}
            Want::Document => {
                let content = document(name, size, limits.document_bytes, budget, read)?;
                part.documents.insert(base.to_owned(), content);
            }
            Want::Log => {
                part.documents.insert("dump.log".into(), read(LOG_BYTES)?);
            }
            Want::Image => {
                let content = document(name, size, image::limits::IMAGE_BYTES, budget, read)?;
                part.images.insert(base.to_owned(), content);
            }
            Want::Round => {
                let content = document(name, size, image::limits::IMAGE_BYTES, budget, read)?;
                part.rounds.entry(top.to_owned()).or_default().1.insert(base.to_owned(), content);
            }
        }
        Ok(())
    }
}

impl Part {
    fn count(&mut self, top: &str, base: &str, size: u64) -> Want {
        match (top, base) {
            ("", "config.dump" | "spec.dump" | "spec.json" | "network.status" | "status.dump") => Want::Document,
            ("" | "checkpoint", "dump.log") => Want::Log,
            ("", "stats-dump" | "stats-restore") => Want::Image,
            ("", "rootfs-diff.tar") => {
                self.sizes.rootfs_diff = Some(size);
                Want::Nothing
            }
            ("", "devshm-checkpoint.tar") | ("volumes", _) => {
                self.sizes.volumes += size;
                Want::Nothing
            }
            ("checkpoint", _) => {
                self.sizes.checkpoint += size;
                if base.starts_with("pages-") {
                    self.sizes.pages += size;
                }
                if image::is_wanted(base) { Want::Image } else { Want::Nothing }
            }
            (round, _) if round.starts_with("pre-") => {
                self.sizes.pre_dumps += size;
                // Bounded by the number of members, as everything here.
                self.rounds.entry(round.to_owned()).or_default().0 += size;
                if base.starts_with("pagemap-") { Want::Round } else { Want::Nothing }
            }
            _ => Want::Nothing,
        }
    }
}

fn document(name: &str, size: u64, most: u64, budget: &mut u64, read: &mut ReadStart<'_>) -> Result<Vec<u8>, InspectError> {
    if size > most || size > *budget {
        return Err(
            ImageError::too_large(name, format!("it has {size} bytes, and {} at most are held in memory", most.min(*budget))).into()
        );
    }
    *budget -= size;
    // One byte more would show that a file grows.
    read(size)
}
