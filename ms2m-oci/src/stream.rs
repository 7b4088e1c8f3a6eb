//! An image as a tar of its layout, written in one go: for tools that read one from a pipe. Nothing of it is on a disk.

use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

use crate::error::{OciError, Result, Rule};
use crate::facts::Facts;
use crate::image::Image;
use crate::index::{INDEX, Index};
use crate::name::Tag;
use crate::publish::{MARKER, marker};
use crate::stage::blob;

/// What passes at a time: tools read from pipes, which hold no more than a few of these.
const PIECE_BYTES: usize = 256 << 10;

/// Writes the layout of one image, for `ctr images import -` and the like, and returns the bytes written.
///
/// `layer` must give the bytes that the image announces. Only their number is checked here: whoever reads the tar checks every digest.
///
/// # Errors
/// [`OciError::Refused`] when `layer` gives too few bytes or too many, [`OciError::Io`] when it cannot be read, or `to` not be written.
pub fn stream(image: &Image, facts: &Facts, tag: &Tag, layer: impl Read, to: impl Write) -> Result<u64> {
    let failed = |source| OciError::Io { what: "writing the image as a tar".into(), source };
    let mut index = Index::empty();
    index.add(image, facts, tag, 1)?;
    let mut tar = Builder::new(Counted { to, bytes: 0 });
    for (name, text) in [
        (MARKER.to_owned(), marker().as_str()),
        (INDEX.to_owned(), index.text().as_str()),
        (blob(image.config.digest()), image.config.text()),
        (blob(image.manifest.digest()), image.manifest.text()),
    ] {
        tar.append_data(&mut header(text.len() as u64), name, text.as_bytes()).map_err(failed)?;
    }
    let expected = image.layer.bytes;
    // One byte more would be found as one too many.
    let mut layer = io::BufReader::with_capacity(PIECE_BYTES, layer.take(expected.saturating_add(1)));
    let mut exact = Exact { left_bytes: expected, layer: &mut layer };
    tar.append_data(&mut header(expected), blob(image.layer.digest), &mut exact).map_err(failed)?;
    let missing = exact.left_bytes;
    let more = missing == 0 && layer.read(&mut [0]).map_err(failed)? > 0;
    if missing > 0 || more {
        let found = if more { "more".to_owned() } else { (expected - missing).to_string() };
        let reason = format!("it has {found} bytes instead of {expected}");
        return Err(OciError::refuse(Rule::Size, format!("the layer {}", image.layer.digest), reason));
    }
    let mut counted = tar.into_inner().map_err(failed)?;
    counted.flush().map_err(failed)?;
    Ok(counted.bytes)
}

fn header(bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_mtime(0);
    header.set_size(bytes);
    header
}

/// No more than was announced.
struct Exact<R> {
    layer: R,
    left_bytes: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.layer.read(&mut buffer[..most])?;
        self.left_bytes -= read as u64;
        Ok(read)
    }
}

struct Counted<W> {
    to: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
