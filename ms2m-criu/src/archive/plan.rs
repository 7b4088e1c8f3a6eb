//! Packs a checkpoint directory: the layout first, the bytes when they are asked for, from any offset.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::error::{ArchiveError, Result};
use super::limits::Limits;
use super::manifest::{CONTAINERS, MANIFEST, Manifest, ParentLink, rank};

const BLOCK: u64 = 512;
/// The two empty blocks that end a tar.
const END: u64 = 2 * BLOCK;
/// How much is handed over at once: see [`ByteStream`](ms2m_core::ByteStream).
pub(super) const PIECE_BYTES: usize = 1 << 20;

/// The layout of an archive of ours, made from a listing of its directory. Cheap to clone.
///
/// The length is known before anything is read, and the same directory gives the same bytes, so a transfer that was cut can go on where it
/// stopped. Files are read when their bytes are asked for; one whose size has changed since is an error.
#[derive(Clone, Debug)]
pub struct TarPlan {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    manifest: Manifest,
    json: Vec<u8>,
    entries: Vec<Entry>,
    bytes: u64,
}

#[derive(Debug)]
struct Entry {
    /// Where its header begins.
    start: u64,
    name: String,
    size: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Manifest,
    Directory,
    File(PathBuf),
}

impl TarPlan {
    /// Lists `directory`, which holds `containers/NAME/…` for each container of `manifest`, as described in [the module](super).
    ///
    /// [`ContainerManifest::parents`](super::ContainerManifest::parents) is filled in from CRIU's links. A `manifest.json` in the
    /// directory is not used: the given one travels.
    ///
    /// # Errors
    /// [`ArchiveError::Pack`] when something there does not travel (a link, a device, a socket, a name that is too long, a directory that
    /// the manifest does not name), and when a directory cannot be read.
    pub fn scan(directory: &Path, mut manifest: Manifest) -> Result<Self> {
        for container in &mut manifest.containers {
            container.parents.clear();
        }
        let mut listing = Vec::new();
        for (name, path, kind) in list(directory)? {
            match name.as_str() {
                MANIFEST => {}
                CONTAINERS if kind.is_dir() => listing.push((name, path, None)),
                _ => {
                    return Err(ArchiveError::pack(
                        path.display(),
                        "has no place in an archive; put it below containers/NAME or remove it",
                    ));
                }
            }
        }
        let mut at = 0;
        while at < listing.len() {
            let (name, path, size): &(String, PathBuf, Option<u64>) = &listing[at];
            if size.is_none() {
                let below = walk(name, path, &mut manifest)?;
                listing.extend(below);
            }
            if listing.len() >= Limits::default().members as usize {
                return Err(ArchiveError::pack(directory.display(), "has more files than an archive may; see Limits::members"));
            }
            at += 1;
        }
        for container in &mut manifest.containers {
            if !listing.iter().any(|(name, ..)| name.strip_prefix("containers/") == Some(&container.name)) {
                return Err(ArchiveError::pack(directory.display(), format!("has no directory containers/{}", container.name)));
            }
            container.parents.sort();
        }
        manifest.check().map_err(|reason| ArchiveError::pack(MANIFEST, reason))?;
        listing.sort();
        Self::lay_out(manifest, listing)
    }

    fn lay_out(manifest: Manifest, listing: Vec<(String, PathBuf, Option<u64>)>) -> Result<Self> {
        let json = serde_json::to_vec_pretty(&manifest).map_err(|error| ArchiveError::pack(MANIFEST, error.to_string()))?;
        let mut entries = vec![Entry { start: 0, name: MANIFEST.into(), size: json.len() as u64, content: Content::Manifest }];
        let mut bytes = BLOCK + padded(json.len() as u64);
        for (name, path, size) in listing {
            let content = if size.is_some() { Content::File(path) } else { Content::Directory };
            let entry = Entry { start: bytes, name, size: size.unwrap_or(0), content };
            // Where a name does not fit must be known now, not in the middle of a transfer.
            entry.header()?;
            bytes += BLOCK + padded(entry.size);
            entries.push(entry);
        }
        Ok(Self { inner: Arc::new(Inner { manifest, json, entries, bytes: bytes + END }) })
    }

    /// The exact length of the archive.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.inner.bytes
    }

    /// The manifest that travels, with the parents filled in.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// Writes the archive from `offset_bytes` on.
    ///
    /// # Errors
    /// When a file cannot be read or has changed its size, and what the sink says.
    pub fn write_to(&self, sink: &mut impl Write, offset_bytes: u64) -> Result<()> {
        let mut pieces = self.pieces(offset_bytes);
        while let Some(piece) = pieces.next_piece()? {
            sink.write_all(&piece).map_err(|error| ArchiveError::io("writing the archive", error))?;
        }
        Ok(())
    }

    pub(super) fn pieces(&self, offset_bytes: u64) -> Pieces {
        Pieces { plan: Arc::clone(&self.inner), at: offset_bytes, open: None }
    }
}

/// The archive in order, from an offset on.
#[derive(Debug)]
pub(super) struct Pieces {
    plan: Arc<Inner>,
    at: u64,
    open: Option<(usize, File)>,
}

impl Pieces {
    /// The next piece, or `None` at the end. All but the last have the same size: many small files make one piece.
    pub(super) fn next_piece(&mut self) -> Result<Option<Vec<u8>>> {
        let left = self.plan.bytes.saturating_sub(self.at);
        if left == 0 {
            return Ok(None);
        }
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let mut piece = Vec::with_capacity(size);
        while piece.len() < size {
            let before = piece.len();
            self.append(&mut piece, size - before)?;
            self.at += (piece.len() - before) as u64;
        }
        Ok(Some(piece))
    }

    fn append(&mut self, piece: &mut Vec<u8>, room: usize) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        let index = plan.entries.partition_point(|entry| entry.start <= self.at).saturating_sub(1);
        let entry = &plan.entries[index];
        let within = self.at - entry.start;
        let content_end = BLOCK + entry.size;
        if within < BLOCK {
            let header = entry.header()?;
            let rest = &header[usize::try_from(within).unwrap_or(0)..];
            piece.extend_from_slice(&rest[..rest.len().min(room)]);
        } else if within < content_end {
            let left = usize::try_from(content_end - within).unwrap_or(usize::MAX).min(room);
            match &entry.content {
                Content::Manifest => {
                    let from = usize::try_from(within - BLOCK).unwrap_or(0);
                    piece.extend_from_slice(&plan.json[from..from + left]);
                }
                Content::File(path) => self.read_file(index, path, entry.size, within - BLOCK, piece, left)?,
                Content::Directory => {}
            }
        } else {
            let next = plan.entries.get(index + 1).map_or(plan.bytes, |entry| entry.start);
            let zeros = usize::try_from(next - self.at).unwrap_or(usize::MAX).min(room);
            piece.resize(piece.len() + zeros, 0);
        }
        Ok(())
    }

    fn read_file(&mut self, index: usize, path: &Path, size: u64, from: u64, piece: &mut Vec<u8>, left: usize) -> Result<()> {
        let io = |error| ArchiveError::io(format!("reading {}", path.display()), error);
        let changed = || {
            ArchiveError::pack(
                path.display(),
                "has changed its size while it was read; end whoever writes there, and take the checkpoint again",
            )
        };
        let mut file = match self.open.take() {
            Some((open, file)) if open == index => file,
            _ => {
                let mut options = File::options();
                options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
                let mut file = options.open(path).map_err(io)?;
                if from > 0 {
                    file.seek(SeekFrom::Start(from)).map_err(io)?;
                }
                file
            }
        };
        let read = (&mut file).take(left as u64).read_to_end(piece).map_err(io)?;
        if read < left {
            return Err(changed());
        }
        if from + left as u64 == size {
            if file.metadata().map_err(io)?.len() != size {
                return Err(changed());
            }
        } else {
            self.open = Some((index, file));
        }
        Ok(())
    }
}

impl Entry {
    fn header(&self) -> Result<[u8; 512]> {
        let mut header = tar::Header::new_ustar();
        let directory = matches!(self.content, Content::Directory);
        header.set_entry_type(if directory { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_mode(if directory { 0o700 } else { 0o600 });
        header.set_size(self.size);
        // Nobody's and no time's: the same checkpoint gives the same bytes.
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let name = if directory { format!("{}/", self.name) } else { self.name.clone() };
        header.set_path(&name).map_err(|_| ArchiveError::pack(&self.name, "has a name that is too long for an archive; shorten it"))?;
        header.set_cksum();
        Ok(*header.as_bytes())
    }
}

fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK)
}

fn list(directory: &Path) -> Result<Vec<(String, PathBuf, std::fs::FileType)>> {
    let what = |error| ArchiveError::io(format!("listing {}", directory.display()), error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(what)? {
        let entry = entry.map_err(what)?;
        let name = entry
            .file_name()
            .into_string()
            .map_err(|_| ArchiveError::pack(entry.path().display(), "has a name that is not UTF-8; rename it"))?;
        found.push((name, entry.path(), entry.file_type().map_err(what)?));
    }
    Ok(found)
}

/// What lies directly in a directory below `containers`; a size for files. Links named `parent` go into the manifest.
fn walk(name: &str, path: &Path, manifest: &mut Manifest) -> Result<Vec<(String, PathBuf, Option<u64>)>> {
    let mut found = Vec::new();
    for (base, path, kind) in list(path)? {
        let name = format!("{name}/{base}");
        if kind.is_dir() {
            let depth = name.matches('/').count();
            if depth == 1 && !manifest.containers.iter().any(|container| container.name == base) {
                return Err(ArchiveError::pack(path.display(), "is no container of the manifest; remove it or name it there"));
            }
            found.push((name, path, None));
        } else if kind.is_file() {
            let what = |error| ArchiveError::io(format!("looking at {}", path.display()), error);
            let size = path.symlink_metadata().map_err(what)?.len();
            found.push((name, path, Some(size)));
        } else if kind.is_symlink() && base == "parent" {
            take_parent(&name, &path, manifest)?;
        } else {
            return Err(ArchiveError::pack(
                path.display(),
                "is neither a file nor a directory, and does not travel; pack it into a tar of its own",
            ));
        }
    }
    Ok(found)
}

fn take_parent(name: &str, path: &Path, manifest: &mut Manifest) -> Result<()> {
    let odd = || ArchiveError::pack(path.display(), "does not link to an earlier image directory of the same container");
    let parts: Vec<&str> = name.split('/').collect();
    let &[_, container, directory, _] = parts.as_slice() else { return Err(odd()) };
    let parent = path.canonicalize().map_err(|_| odd())?;
    let of = parent.parent().and_then(Path::file_name);
    let parent = parent.file_name().and_then(|parent| parent.to_str()).filter(|_| of == Some(OsStr::new(container))).ok_or_else(odd)?;
    if rank(parent).is_none() || rank(directory).is_none() {
        return Err(odd());
    }
    let container = manifest.containers.iter_mut().find(|known| known.name == container).ok_or_else(odd)?;
    container.parents.push(ParentLink { directory: directory.into(), parent: parent.into() });
    Ok(())
}
