//! An image becomes visible.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::error::{OciError, Result, Rule};
use crate::facts::Facts;
use crate::image::Image;
use crate::index::{INDEX, Index};
use crate::limits::Limits;
use crate::name::Tag;
use crate::read::Directory;
use crate::stage::{BLOBS, Stage};

pub(crate) const MARKER: &str = "oci-layout";
/// How long another process may write to the same layout: it only renames and writes one document.
const PATIENCE: Duration = Duration::from_secs(10);

/// What stands at the layout's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    Nothing,
    Empty,
    Layout,
}

/// Looks at what stands there, and refuses what is no layout.
pub(crate) fn check(layout: &Path, limits: &Limits) -> Result<Found> {
    match fs::symlink_metadata(layout) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(OciError::io("looking at", layout)(error)),
        Ok(_) => {}
    }
    let mut entries = fs::read_dir(layout).map_err(OciError::io("listing", layout))?.flatten();
    // Others may be packing into it.
    if entries.all(|entry| entry.file_name().to_string_lossy().ends_with(".ms2m-pack")) {
        return Ok(Found::Empty);
    }
    let directory = Directory::open(layout)?;
    directory.check_version(limits)?;
    Index::parse(&directory.small(INDEX, limits.document_bytes)?)?;
    Ok(Found::Layout)
}

/// Makes what is in `stage` an image of the layout. `false` when the layout had it already.
pub(crate) fn publish(stage: Stage, layout: &Path, image: &Image, facts: &Facts, tag: &Tag, limits: &Limits) -> Result<bool> {
    if stage.path().parent() == Some(layout) {
        return add(&stage, layout, image, facts, tag, limits);
    }
    let mut index = Index::empty();
    index.add(image, facts, tag, limits.images)?;
    stage.write(&stage.path().join(MARKER), &marker())?;
    stage.write(&stage.path().join(INDEX), &index.text())?;
    sync_directory(&stage.path().join(BLOBS))?;
    sync_directory(stage.path())?;
    match stage.become_layout(layout) {
        Ok(()) => {
            sync_directory(layout.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
            Ok(true)
        }
        // Somebody was quicker; then his layout gets this image as well.
        Err((stage, error)) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {
            add(&stage, layout, image, facts, tag, limits)
        }
        Err((_, error)) => Err(OciError::io("making", layout)(error)),
    }
}

/// Blobs first, which nobody sees, then the index in one step.
fn add(stage: &Stage, layout: &Path, image: &Image, facts: &Facts, tag: &Tag, limits: &Limits) -> Result<bool> {
    let _lock = lock(layout)?;
    let directory = Directory::open(layout)?;
    let fresh = !layout.join(MARKER).exists() && !layout.join(INDEX).exists();
    let mut index = if fresh {
        Index::empty()
    } else {
        directory.check_version(limits)?;
        Index::parse(&directory.small(INDEX, limits.document_bytes)?)?
    };
    if !index.add(image, facts, tag, limits.images)? {
        return Ok(false);
    }
    let text = index.text();
    if text.len() as u64 > limits.document_bytes {
        return Err(OciError::refuse(Rule::Limit, layout.join(INDEX).display(), "it would be larger than an index may be"));
    }
    let blobs = layout.join(BLOBS);
    fs::create_dir_all(&blobs).map_err(OciError::io("making", &blobs))?;
    // A link in its place would lead the blobs elsewhere.
    directory.blobs()?;
    for blob in Stage::blobs(image) {
        // A blob of this name is the same, or spoilt.
        fs::rename(stage.path().join(&blob), layout.join(&blob)).map_err(OciError::io("making", &layout.join(&blob)))?;
    }
    sync_directory(&blobs)?;
    let put = |name: &str, text: &str| {
        let staged = stage.path().join(name);
        // An attempt to become the layout has left one.
        let _ = fs::remove_file(&staged);
        stage.write(&staged, text)?;
        fs::rename(&staged, layout.join(name)).map_err(OciError::io("making", &layout.join(name)))
    };
    if fresh {
        put(MARKER, &marker())?;
    }
    put(INDEX, &text)?;
    sync_directory(layout)?;
    Ok(true)
}

pub(crate) fn marker() -> String {
    json!({ "imageLayoutVersion": "1.0.0" }).to_string()
}

fn lock(layout: &Path) -> Result<File> {
    let file = File::open(layout).map_err(OciError::io("opening", layout))?;
    let since = Instant::now();
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(OciError::io("locking", layout)(error));
        }
        if since.elapsed() > PATIENCE {
            return Err(OciError::Locked { path: layout.display().to_string(), waited_s: PATIENCE.as_secs() });
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(file)
}

fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(OciError::io("writing", path))
}
