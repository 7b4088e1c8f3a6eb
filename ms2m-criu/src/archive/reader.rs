//! Walks the members of a tar. The `tar` crate decodes headers; the walk is ours, because it must refuse what a general reader takes.

use std::io::Write;

use tar::{EntryType, Header, PaxExtensions};

use super::error::{ArchiveError, Result, Rule};
use super::input::{Input, unwrap_refusal};
use super::limits::Limits;
use super::name::{Seen, clean};

const BLOCK: usize = 512;

/// What a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// One member. Owner, mode and times are left out: an archive decides about nothing but names and bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its name: a clean relative path.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Bytes of its content.
    pub size: u64,
}

/// Walks the members of a tar within limits.
///
/// ```
/// # use ms2m_criu::archive::{Limits, Reader};
/// let mut header = tar::Header::new_ustar();
/// header.set_path("spec.dump").unwrap();
/// header.set_size(2);
/// header.set_cksum();
/// let mut archive = header.as_bytes().to_vec();
/// archive.extend(b"{}");
/// archive.resize(4 * 512, 0);
///
/// let mut reader = Reader::new(&archive[..], Limits::default());
/// let member = reader.next_member().unwrap().unwrap();
/// assert_eq!(member.name, "spec.dump");
/// assert_eq!(reader.read_document().unwrap(), b"{}");
/// assert_eq!(reader.next_member().unwrap(), None);
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    limits: Limits,
    seen: Seen,
    members: u32,
    total: u64,
    /// Of the current member: its name, what is left of its content, and the padding behind.
    name: String,
    left: u64,
    padding: u64,
    ended: bool,
}

/// What extension headers said of the member that follows.
#[derive(Debug, Default)]
struct Extended {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    seen_pax: bool,
    seen_long: bool,
}

impl<R: Input> Reader<R> {
    /// A reader of a plain tar.
    pub fn new(input: R, limits: Limits) -> Self {
        Self { input, limits, seen: Seen::default(), members: 0, total: 0, name: String::new(), left: 0, padding: 0, ended: false }
    }

    /// The next member, or `None` at the end of an archive that is complete. What was not read of the member before is left out.
    ///
    /// # Errors
    /// [`ArchiveError::Refused`] with the rule that is broken. The reader is of no use afterwards.
    pub fn next_member(&mut self) -> Result<Option<Member>> {
        if self.ended {
            return Ok(None);
        }
        self.skip(self.left.saturating_add(self.padding))?;
        (self.left, self.padding) = (0, 0);
        let mut extended = Extended::default();
        loop {
            let Some(block) = self.header_block()? else {
                if extended.seen_pax || extended.seen_long {
                    return Err(ArchiveError::refuse(Rule::Complete, "", "it ends behind an extension header"));
                }
                self.ended = true;
                return Ok(None);
            };
            // Extension headers count, or they could go on for ever.
            self.count()?;
            let header = Header::from_byte_slice(&block);
            let shown = String::from_utf8_lossy(&header.path_bytes()).into_owned();
            let size = size_of(header, &shown)?;
            match header.entry_type() {
                EntryType::GNULongName if !extended.seen_long => {
                    extended.seen_long = true;
                    let mut name = self.extension(size, &shown)?;
                    while name.last() == Some(&0) {
                        name.pop();
                    }
                    extended.path.get_or_insert(name);
                }
                EntryType::XHeader if !extended.seen_pax => {
                    extended.seen_pax = true;
                    let data = self.extension(size, &shown)?;
                    extended.take_pax(&data, &shown)?;
                }
                EntryType::GNULongName | EntryType::XHeader => {
                    return Err(ArchiveError::refuse(Rule::WellFormed, &shown, "it has two extension headers of one kind"));
                }
                EntryType::Regular => return self.member(header, &extended, Kind::File, size).map(Some),
                EntryType::Directory => return self.member(header, &extended, Kind::Directory, size).map(Some),
                EntryType::GNUSparse => {
                    return Err(ArchiveError::refuse(Rule::NoSparse, &shown, "it is a sparse file"));
                }
                other => {
                    return Err(ArchiveError::refuse(Rule::FilesAndDirectories, &shown, format!("it is {}", describe(other))));
                }
            }
        }
    }

    /// The content of the current member, of a size that is fit for memory.
    ///
    /// # Errors
    /// [`Rule::MemberSize`] when it is larger than [`Limits::document_bytes`].
    pub fn read_document(&mut self) -> Result<Vec<u8>> {
        if self.left > self.limits.document_bytes {
            let reason = format!("it has {} bytes, and a document at most {}", self.left, self.limits.document_bytes);
            return Err(ArchiveError::refuse(Rule::MemberSize, &self.name, reason));
        }
        let mut content = Vec::new();
        self.copy_to(&mut content)?;
        Ok(content)
    }

    /// The first bytes of the current member, `most` at most.
    ///
    /// # Errors
    /// As [`copy_to`](Self::copy_to).
    pub fn read_start(&mut self, most: u64) -> Result<Vec<u8>> {
        let behind = self.left.saturating_sub(most);
        self.left -= behind;
        let mut content = Vec::new();
        let result = self.copy_to(&mut content);
        self.left += behind;
        result.map(|()| content)
    }

    /// Writes the content of the current member to `sink`, without a copy of its own.
    ///
    /// # Errors
    /// [`Rule::Complete`] when the archive ends before; what the sink says.
    pub fn copy_to(&mut self, sink: &mut impl Write) -> Result<()> {
        while self.left > 0 {
            let have = self.input.fill_buf().map_err(|error| unwrap_refusal(error, "reading the archive"))?;
            if have.is_empty() {
                return Err(self.cut());
            }
            let step = usize::try_from(self.left).unwrap_or(usize::MAX).min(have.len());
            sink.write_all(&have[..step]).map_err(|error| ArchiveError::io(format!("writing {}", self.name), error))?;
            self.input.consume(step);
            self.left -= step as u64;
        }
        Ok(())
    }

    fn cut(&self) -> ArchiveError {
        ArchiveError::refuse(Rule::Complete, &self.name, format!("the archive ends {} bytes before the member does", self.left))
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        self.input.skip(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.cut(),
            _ => unwrap_refusal(error, "reading the archive"),
        })
    }

    fn count(&mut self) -> Result<()> {
        self.members += 1;
        if self.members > self.limits.members {
            return Err(ArchiveError::refuse(Rule::MemberCount, "", format!("it has more than {} members", self.limits.members)));
        }
        Ok(())
    }

    /// The next header, checked; `None` at the end of the archive.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let Some(block) = self.block()? else {
            return Err(ArchiveError::refuse(Rule::Complete, "", "it ends without the two empty blocks that end a tar"));
        };
        if block.iter().all(|byte| *byte == 0) {
            match self.block()? {
                Some(second) if second.iter().all(|byte| *byte == 0) => {}
                Some(_) => return Err(ArchiveError::refuse(Rule::WellFormed, "", "an empty block stands between members")),
                None => return Err(ArchiveError::refuse(Rule::Complete, "", "the second of the two blocks that end a tar is missing")),
            }
            self.nothing_behind()?;
            return Ok(None);
        }
        if &block[257..262] != b"ustar" {
            let reason = if self.members == 0 { "it is no tar archive" } else { "a header is not of the ustar kind" };
            return Err(ArchiveError::refuse(Rule::WellFormed, "", reason));
        }
        let sum: u32 = block.iter().enumerate().map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte })).sum();
        if Header::from_byte_slice(&block).cksum().ok() != Some(sum) {
            return Err(ArchiveError::refuse(Rule::WellFormed, "", "the checksum of a header is wrong"));
        }
        Ok(Some(block))
    }

    /// One block, or `None` where the input ends between blocks.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]).map_err(|error| unwrap_refusal(error, "reading the archive"))? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(ArchiveError::refuse(Rule::Complete, "", "it ends within a header")),
                read => filled += read,
            }
        }
        Ok(Some(block))
    }

    fn nothing_behind(&mut self) -> Result<()> {
        let mut zeros = 0;
        loop {
            let have = self.input.fill_buf().map_err(|error| unwrap_refusal(error, "reading the archive"))?;
            if have.is_empty() {
                return Ok(());
            }
            if have.iter().any(|byte| *byte != 0) {
                return Err(ArchiveError::refuse(Rule::NothingBehind, "", "something comes behind its end"));
            }
            let step = have.len();
            zeros += step as u64;
            if zeros > self.limits.trailing_bytes {
                return Err(ArchiveError::refuse(Rule::NothingBehind, "", "too many zeros come behind its end"));
            }
            self.input.consume(step);
        }
    }

    /// The content of an extension header. All that is wanted of it is a name and a size.
    fn extension(&mut self, size: u64, shown: &str) -> Result<Vec<u8>> {
        const EXTENSION_BYTES: u64 = 64 << 10;
        if size > EXTENSION_BYTES {
            return Err(ArchiveError::refuse(Rule::NameLength, shown, format!("its extension header has {size} bytes")));
        }
        (self.left, self.padding) = (size, padding(size));
        self.name = shown.into();
        let mut data = Vec::new();
        self.copy_to(&mut data)?;
        self.skip(self.padding)?;
        self.padding = 0;
        Ok(data)
    }

    fn member(&mut self, header: &Header, extended: &Extended, kind: Kind, size: u64) -> Result<Member> {
        let raw = extended.path.as_deref().map_or_else(|| header.path_bytes(), Into::into);
        let name = clean(&raw, &self.limits)?;
        if kind == Kind::File && (raw.ends_with(b"/") || name.is_empty()) {
            return Err(ArchiveError::refuse(Rule::PlainNames, &name, "it is a file with the name of a directory"));
        }
        let size = extended.size.unwrap_or(size);
        if kind == Kind::Directory && size != 0 {
            return Err(ArchiveError::refuse(Rule::WellFormed, &name, "it is a directory with content"));
        }
        if size > self.limits.member_bytes {
            let reason = format!("it has {size} bytes, and one member at most {}", self.limits.member_bytes);
            return Err(ArchiveError::refuse(Rule::MemberSize, &name, reason));
        }
        self.total = self.total.saturating_add(size);
        if self.total > self.limits.total_bytes {
            return Err(ArchiveError::refuse(Rule::TotalSize, &name, format!("with it the sum exceeds {} bytes", self.limits.total_bytes)));
        }
        self.seen.insert(&name, kind == Kind::Directory)?;
        (self.left, self.padding) = (size, padding(size));
        self.name.clone_from(&name);
        Ok(Member { name, kind, size })
    }
}

impl Extended {
    fn take_pax(&mut self, data: &[u8], shown: &str) -> Result<()> {
        let broken = |reason: &str| ArchiveError::refuse(Rule::WellFormed, shown, reason);
        let mut covered = 0;
        for record in PaxExtensions::new(data) {
            let record = record.map_err(|_| broken("its pax header is malformed"))?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            // Length, blank, `=` and newline: what the record must have had for the crate to accept it.
            let bare = key.len() + value.len() + 3;
            covered += (1..=20).map(|digits| bare + digits).find(|sum| sum.to_string().len() == sum - bare).unwrap_or(bare);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"size" => {
                    let size = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                    self.size = Some(size.and_then(|text| text.parse().ok()).ok_or_else(|| broken("its pax size is no number"))?);
                }
                sparse if sparse.starts_with(b"GNU.sparse") => {
                    return Err(ArchiveError::refuse(Rule::NoSparse, shown, "it is a sparse file"));
                }
                // Times, owners and extended attributes decide nothing here.
                _ => {}
            }
        }
        if covered == data.len() { Ok(()) } else { Err(broken("its pax header is malformed")) }
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn size_of(header: &Header, shown: &str) -> Result<u64> {
    let field = &header.as_bytes()[124..136];
    // In the binary form the crate looks at the last eight bytes only: the others would make the number negative or huge.
    if field[0] & 0x80 != 0 && (field[0] != 0x80 || field[1..4] != [0, 0, 0] || field[4] & 0x80 != 0) {
        return Err(ArchiveError::refuse(Rule::MemberSize, shown, "its size is negative or beyond any limit"));
    }
    header.entry_size().map_err(|_| ArchiveError::refuse(Rule::WellFormed, shown, "its size is no number"))
}

fn describe(kind: EntryType) -> String {
    match kind {
        EntryType::Link => "a hard link".into(),
        EntryType::Symlink | EntryType::GNULongLink => "a symbolic link".into(),
        EntryType::Char => "a character device".into(),
        EntryType::Block => "a block device".into(),
        EntryType::Fifo => "a FIFO".into(),
        EntryType::XGlobalHeader => "a global header".into(),
        other => format!("of the kind {:?}", char::from(other.as_byte())),
    }
}
