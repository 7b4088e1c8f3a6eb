//! Magic numbers and entries.

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use super::{ImageError, Result, limits};

/// The magic numbers that stand at the beginning of an image.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "each is the image of that name")]
pub enum Magic {
    Inventory,
    Pstree,
    Core,
    Ids,
    Mm,
    Pagemap,
    Fdinfo,
    Files,
    Fs,
    Utsns,
    Mountpoints,
    TtyInfo,
    GhostFile,
    FileLocks,
    Cpuinfo,
    Stats,
    TcpStream,
}

const COMMON: u32 = 0x5456_4319;
const SERVICE: u32 = 0x5510_5940;

impl Magic {
    fn number(self) -> u32 {
        match self {
            Self::Inventory => 0x5831_3116,
            Self::Pstree => 0x5027_3030,
            Self::Core => 0x5505_3847,
            Self::Ids => 0x5443_2030,
            Self::Mm => 0x5749_2820,
            Self::Pagemap => 0x5608_4025,
            Self::Fdinfo => 0x5621_3732,
            Self::Files => 0x5630_3138,
            Self::Fs => 0x5140_3912,
            Self::Utsns => 0x5447_3203,
            Self::Mountpoints => 0x5556_3928,
            Self::TtyInfo => 0x5945_3036,
            Self::GhostFile => 0x5258_3605,
            Self::FileLocks => 0x5432_3616,
            Self::Cpuinfo => 0x6140_4013,
            Self::Stats => 0x5709_3306,
            Self::TcpStream => 0x5146_5506,
        }
    }

    /// Which number comes first: the inventory has none, since it tells the version of all others.
    fn head(self) -> Option<u32> {
        match self {
            Self::Inventory => None,
            Self::Stats => Some(SERVICE),
            _ => Some(COMMON),
        }
    }
}

/// The entries of an image, undecoded.
///
/// After an error nothing more comes.
#[derive(Debug)]
pub struct Entries<'a> {
    name: &'a str,
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// Checks the magic numbers of the image called `name`.
    ///
    /// # Errors
    /// [`ImageError::Malformed`] when they are others.
    pub fn new(name: &'a str, magic: Magic, image: &'a [u8]) -> Result<Self> {
        let mut rest = image;
        for expected in magic.head().into_iter().chain([magic.number()]) {
            let number = take_u32(&mut rest).ok_or_else(|| ImageError::malformed(name, "it ends within its magic number"))?;
            if number != expected {
                return Err(ImageError::malformed(name, format!("its magic number is {number:#010x}, not {expected:#010x}")));
            }
        }
        Ok(Self { name, rest })
    }

    /// The first entry, decoded; what follows is left out.
    ///
    /// # Errors
    /// When there is none, or it is malformed.
    pub(super) fn only<M: Message + Default>(mut self) -> Result<M> {
        let name = self.name;
        let entry = self.next().ok_or_else(|| ImageError::malformed(name, "it has no entry"))??;
        decode(name, entry)
    }

    /// Every entry, decoded, one at a time.
    pub(super) fn decoded<M: Message + Default>(self) -> impl Iterator<Item = Result<M>> {
        let name = self.name;
        self.enumerate().map(move |(at, entry)| {
            if at >= limits::ENTRIES {
                return Err(ImageError::too_large(name, format!("it has more than {} entries", limits::ENTRIES)));
            }
            decode(name, entry?)
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = match take_u32(&mut self.rest).map(|length| length as usize) {
            None => Err(ImageError::malformed(self.name, "it ends within a length")),
            Some(length) if length > limits::ENTRY_BYTES => {
                Err(ImageError::too_large(self.name, format!("an entry has {length} bytes, and {} at most", limits::ENTRY_BYTES)))
            }
            Some(length) => match self.rest.split_at_checked(length) {
                Some((entry, rest)) => {
                    self.rest = rest;
                    return Some(Ok(entry));
                }
                None => Err(ImageError::malformed(self.name, format!("it ends within an entry of {length} bytes"))),
            },
        };
        self.rest = &[];
        Some(entry)
    }
}

/// Adds an entry to an image that is being written.
pub(super) fn push(name: &str, entry: &[u8], image: &mut Vec<u8>) -> Result<()> {
    let length = u32::try_from(entry.len()).map_err(|_| ImageError::too_large(name, "an entry is too long"))?;
    image.extend_from_slice(&length.to_le_bytes());
    image.extend_from_slice(entry);
    Ok(())
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u32::from_le_bytes(*number))
}

/// Decodes one entry whose decoded form cannot be vastly larger than its bytes.
pub(super) fn decode<M: Message + Default>(name: &str, entry: &[u8]) -> Result<M> {
    let malformed = |error: prost::DecodeError| ImageError::malformed(name, error.to_string());
    // Small ones cannot hold many fields.
    if entry.len() > limits::FIELDS {
        let mut rest = entry;
        let mut fields = 0;
        while rest.has_remaining() {
            fields += 1;
            if fields > limits::FIELDS {
                return Err(ImageError::too_large(name, format!("an entry has more than {} fields", limits::FIELDS)));
            }
            let (tag, kind) = decode_key(&mut rest).map_err(malformed)?;
            skip_field(kind, tag, &mut rest, DecodeContext::default()).map_err(malformed)?;
        }
    }
    M::decode(entry).map_err(malformed)
}
