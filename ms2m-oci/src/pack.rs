//! From an archive to an image in a layout.

use std::ops::ControlFlow;
use std::path::Path;

use crate::compress::{Compression, compress};
use crate::error::{OciError, Result};
use crate::facts::Facts;
use crate::image::{Image, Layer, LayerKind};
use crate::limits::Limits;
use crate::name::{LayoutName, Tag};
use crate::pass::{Archive, Progress};
use crate::place::{Placed, create, place};
use crate::publish::{check, publish};
use crate::stage::Stage;

/// How to pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PackOptions {
    /// How the layer is written.
    pub compression: Compression,
    /// Copy even where a link would do: for an archive that will be written to again.
    pub copy: bool,
    /// What the archive, and a layout that is there already, may ask of us.
    pub limits: Limits,
}

/// What was packed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packed {
    /// The image.
    pub image: Image,
    /// What it is called in the layout.
    pub tag: Tag,
    /// Size of the archive, in bytes.
    pub archive_bytes: u64,
    /// How the layer came to be.
    pub placed: Placed,
    /// Whether the layout holds something new. `false`: it held this image under this tag already.
    pub added: bool,
}

/// Packs the plain tar `archive` into a layout, under the tag of `name` or, without one, under its manifest's digest.
///
/// The archive is read once, in constant memory. A layout that is not there appears whole, by a rename; one that is there gets another
/// tag, its index replaced at once and under a lock, and its other images stay as they are. `progress` hears how many bytes of the
/// archive are digested, several times for each MiB, and can stop.
///
/// # Errors
/// - [`OciError::Refused`] when the archive is no plain tar or too large, or what stands at the layout's place is no layout.
/// - [`OciError::Exists`] when the tag names another image.
/// - [`OciError::Changed`] when the archive was written to meanwhile.
/// - [`OciError::Stopped`] when `progress` said so.
///
/// After an error nothing of the image is visible, and nothing is left.
pub fn pack(
    archive: &Path,
    name: &LayoutName,
    facts: &Facts,
    options: &PackOptions,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Packed> {
    let archive = Archive::open(archive, options.limits.layer_bytes)?;
    // What cannot be written to should say so before gigabytes are read.
    let layout = check(&name.directory, &options.limits)?;
    let stage = Stage::make(&name.directory, layout)?;
    let (layer, placed) = write_layer(&archive, &stage, options, progress)?;
    let image = Image::new(layer, facts);
    stage.fill(&image)?;
    let tag = match &name.tag {
        Some(tag) => tag.clone(),
        None => Tag::new(image.manifest.digest().to_string().replace(':', "-"))?,
    };
    let added = publish(stage, &name.directory, &image, facts, &tag, &options.limits)?;
    Ok(Packed { image, tag, archive_bytes: archive.bytes, placed, added })
}

fn write_layer(archive: &Archive, stage: &Stage, options: &PackOptions, progress: Progress<'_>) -> Result<(Layer, Placed)> {
    let path = stage.layer();
    let (layer, placed, written) = match options.compression {
        Compression::Zstd => {
            let file = create(&path)?;
            (compress(archive, &file, progress)?, Placed::Compressed, Some(file))
        }
        Compression::None => {
            let (placed, file) = place(&archive.file, &path, options.copy)?;
            let digest = archive.digest(file.as_ref(), progress)?;
            (Layer { kind: LayerKind::Tar, digest, bytes: archive.bytes, diff_id: digest }, placed, file)
        }
    };
    archive.unchanged()?;
    if let Some(file) = written {
        file.sync_data().map_err(OciError::io("writing", &path))?;
    }
    Ok((layer, placed))
}
