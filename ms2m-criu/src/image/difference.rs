//! Leaves out of a whole dump the pages that an earlier one has with the same content.
//!
//! CRIU does that itself where the kernel tracks which pages were written. Here contents are compared, which needs nothing of the kernel but a
//! second dump. What comes out is what CRIU would have written: a page map that says `in parent`, and fewer pages.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::iter::Peekable;
use std::num::NonZero;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;

use prost::Message as _;
use rustix::param::page_size;

use super::decode::read_file;
use super::frame::{Entries, Magic, decode, push};
use super::messages::{PagemapEntry, PagemapHead};
use super::pagemap::{IN_PARENT, PRESENT, flags, pages};
use super::{ImageError, Result};

/// What an image begins with.
const MAGIC_BYTES: usize = 8;
/// How many pages are read at once.
const AT_ONCE: u64 = 256;

fn io(image: &str) -> impl Fn(std::io::Error) -> ImageError {
    move |error| ImageError::io(image, error)
}

/// What a dump holds afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Left {
    /// Pages that are in the dump.
    pub(crate) written: u64,
    /// Pages that were left out.
    pub(crate) in_parent: u64,
}

/// Rewrites the page maps and pages below `images`, whose parent the whole dump below `parent` becomes; the link `parent` is the caller's to make.
///
/// A page map that `parent` lacks, or whose pages are not stored as they are known here, stays whole.
///
/// # Errors
/// When an image is malformed, or cannot be read or written. Then `images` may be half rewritten, and of no use.
pub(crate) fn leave_out(images: &Path, parent: &Path) -> Result<Left> {
    let mut left = Left::default();
    for entry in fs::read_dir(images).map_err(io("the images"))? {
        let name = entry.map_err(io("the images"))?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with("pagemap-") && name.ends_with(".img")) else { continue };
        let whole = Stored::open(images, name)?;
        let base = if parent.join(name).exists() { Some(Stored::open(parent, name)?) } else { None };
        match base.filter(|base| whole.is_plain() && base.is_plain()) {
            Some(base) => {
                let here = rewrite(images, name, &whole, &base)?;
                (left.written, left.in_parent) = (left.written + here.written, left.in_parent + here.in_parent);
            }
            None => left.written += whole.stored_pages(),
        }
    }
    Ok(left)
}

/// A page map, and the file with its pages.
struct Stored {
    /// Of the page map, up to its first stretch.
    beginning: Vec<u8>,
    entries: Vec<PagemapEntry>,
    pages_name: String,
    pages: File,
}

impl Stored {
    fn open(directory: &Path, name: &str) -> Result<Self> {
        let image = read_file(directory, name)?;
        let mut all = Entries::new(name, Magic::Pagemap, &image)?;
        let head = all.next().ok_or_else(|| ImageError::malformed(name, "it has no head"))??;
        let pages_name = format!("pages-{}.img", decode::<PagemapHead>(name, head)?.pages_id);
        let entries = all.map(|entry| decode(name, entry?)).collect::<Result<_>>()?;
        let pages = File::open(directory.join(&pages_name)).map_err(io(&pages_name))?;
        let mut beginning = image[..MAGIC_BYTES].to_vec();
        push(name, head, &mut beginning)?;
        Ok(Self { beginning, entries, pages_name, pages })
    }

    fn stored_pages(&self) -> u64 {
        self.entries.iter().filter(|entry| is_stored(entry)).map(pages).sum()
    }

    /// Whether its pages lie one behind the other, in order, and nothing else does.
    fn is_plain(&self) -> bool {
        let ascending = self.entries.windows(2).all(|pair| end(&pair[0]).is_some_and(|end| end <= pair[1].vaddr));
        let bytes = self.pages.metadata().map(|metadata| metadata.len()).ok();
        ascending
            && self.entries.last().is_none_or(|last| end(last).is_some())
            && bytes == self.stored_pages().checked_mul(page_size() as u64)
    }

    /// Each stretch of stored pages, and how many are stored before it.
    fn stretches(&self) -> impl Iterator<Item = (&PagemapEntry, u64)> {
        let mut before = 0;
        self.entries.iter().filter(|entry| is_stored(entry)).map(move |entry| {
            let first = before;
            before += pages(entry);
            (entry, first)
        })
    }

    fn read(&self, first: u64, buffer: &mut [u8]) -> Result<()> {
        self.pages.read_exact_at(buffer, first * page_size() as u64).map_err(io(&self.pages_name))
    }
}

fn is_stored(entry: &PagemapEntry) -> bool {
    flags(entry) & PRESENT != 0 && flags(entry) & IN_PARENT == 0
}

fn end(entry: &PagemapEntry) -> Option<u64> {
    entry.vaddr.checked_add(pages(entry).checked_mul(page_size() as u64)?)
}

fn rewrite(images: &Path, name: &str, whole: &Stored, base: &Stored) -> Result<Left> {
    let new_pages = images.join(format!("{}.new", whole.pages_name));
    let mut out = Out {
        name,
        pages_name: &whole.pages_name,
        pages: BufWriter::with_capacity(1 << 20, File::create(&new_pages).map_err(io(&whole.pages_name))?),
        map: whole.beginning.clone(),
        last: None,
        left: Left::default(),
    };
    let same = compare(whole, base)?;
    let mut content = vec![0; AT_ONCE as usize * page_size()];
    // Of the whole dump's pages.
    let mut first = 0;
    for entry in &whole.entries {
        if !is_stored(entry) {
            out.put(entry, entry.vaddr, pages(entry), flags(entry))?;
            continue;
        }
        let mut at = entry.vaddr;
        for alike in same[first as usize..(first + pages(entry)) as usize].chunk_by(PartialEq::eq) {
            for run in alike.chunks(AT_ONCE as usize) {
                let count = run.len() as u64;
                if run[0] {
                    out.put(entry, at, count, IN_PARENT)?;
                } else {
                    let content = &mut content[..run.len() * page_size()];
                    whole.read(first, content)?;
                    out.put_pages(entry, at, content)?;
                }
                at += count * page_size() as u64;
                first += count;
            }
        }
    }
    out.end_stretch()?;
    out.pages.flush().map_err(io(&whole.pages_name))?;
    fs::rename(&new_pages, images.join(&whole.pages_name)).map_err(io(&whole.pages_name))?;
    fs::write(images.join(name), &out.map).map_err(io(name))?;
    Ok(out.left)
}

/// Pages that lie one behind the other, here and in the earlier dump if they are there.
struct Piece {
    first: u64,
    there: Option<u64>,
    pages: u64,
}

/// Of each page stored in `whole` whether it is the same in `base`. Nobody serves meanwhile, so every processor helps.
fn compare(whole: &Stored, base: &Stored) -> Result<Vec<bool>> {
    let pieces = pieces(whole, base);
    let mut same = vec![false; whole.stored_pages() as usize];
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let mut rest = same.as_mut_slice();
    thread::scope(|scope| {
        let shares = pieces.chunks(pieces.len().div_ceil(workers).max(1)).map(|share| {
            let pages: u64 = share.iter().map(|piece| piece.pages).sum();
            let own = rest.split_off_mut(..pages as usize).unwrap_or_default();
            scope.spawn(move || compare_pieces(whole, base, share, own))
        });
        // All have begun before the first is waited for.
        let shares: Vec<_> = shares.collect();
        shares.into_iter().try_for_each(|share| share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    Ok(same)
}

fn pieces(whole: &Stored, base: &Stored) -> Vec<Piece> {
    let mut known = base.stretches().peekable();
    let mut pieces = Vec::new();
    for (entry, first) in whole.stretches() {
        let mut done = 0;
        while done < pages(entry) {
            let at = entry.vaddr + done * page_size() as u64;
            let (pages, there) = find(&mut known, at, (pages(entry) - done).min(AT_ONCE));
            pieces.push(Piece { first: first + done, there, pages });
            done += pages;
        }
    }
    pieces
}

fn compare_pieces(whole: &Stored, base: &Stored, pieces: &[Piece], same: &mut [bool]) -> Result<()> {
    let (mut ours, mut theirs) = (vec![0; AT_ONCE as usize * page_size()], vec![0; AT_ONCE as usize * page_size()]);
    let mut same = same.iter_mut();
    for piece in pieces {
        let same = same.by_ref().take(piece.pages as usize);
        let Some(there) = piece.there else {
            same.for_each(drop);
            continue;
        };
        let bytes = piece.pages as usize * page_size();
        whole.read(piece.first, &mut ours[..bytes])?;
        base.read(there, &mut theirs[..bytes])?;
        for ((same, our), their) in same.zip(ours.chunks(page_size())).zip(theirs.chunks(page_size())) {
            *same = our == their;
        }
    }
    Ok(())
}

/// How many pages from `at` on, up to `max`, are in the earlier dump, all of them or none; and where the first one is stored there. What lies before `at` is
/// done with.
fn find<'a>(known: &mut Peekable<impl Iterator<Item = (&'a PagemapEntry, u64)>>, at: u64, max: u64) -> (u64, Option<u64>) {
    while known.next_if(|(stretch, _)| end(stretch).is_none_or(|end| end <= at)).is_some() {}
    match known.peek() {
        Some((stretch, before)) if stretch.vaddr <= at => {
            let skipped = (at - stretch.vaddr) / page_size() as u64;
            (max.min(pages(stretch) - skipped), Some(before + skipped))
        }
        Some((stretch, _)) => (max.min((stretch.vaddr - at).div_ceil(page_size() as u64)), None),
        None => (max, None),
    }
}

/// What is being written.
struct Out<'a> {
    name: &'a str,
    pages_name: &'a str,
    pages: BufWriter<File>,
    map: Vec<u8>,
    /// The stretch that may still grow.
    last: Option<PagemapEntry>,
    left: Left,
}

impl Out<'_> {
    fn put_pages(&mut self, like: &PagemapEntry, at: u64, content: &[u8]) -> Result<()> {
        self.put(like, at, (content.len() / page_size()) as u64, flags(like))?;
        self.pages.write_all(content).map_err(io(self.pages_name))
    }

    fn put(&mut self, like: &PagemapEntry, vaddr: u64, count: u64, flags: u32) -> Result<()> {
        if flags & IN_PARENT != 0 {
            self.left.in_parent += count;
        } else if flags & PRESENT != 0 {
            self.left.written += count;
        }
        if let Some(last) = &mut self.last
            && last.flags == Some(flags)
            && end(last) == Some(vaddr)
            && counted_in(last) == counted_in(like)
            && u32::try_from(pages(last) + count).is_ok()
        {
            let grown = pages(last) + count;
            resize(last, like, grown);
            return Ok(());
        }
        self.end_stretch()?;
        let mut next = PagemapEntry { vaddr, flags: Some(flags), ..PagemapEntry::default() };
        resize(&mut next, like, count);
        self.last = Some(next);
        Ok(())
    }

    fn end_stretch(&mut self) -> Result<()> {
        self.last.take().map_or(Ok(()), |last| push(self.name, &last.encode_to_vec(), &mut self.map))
    }
}

/// In which fields the number of pages is: in the old one, in the new one.
fn counted_in(entry: &PagemapEntry) -> (bool, bool) {
    (entry.nr_pages_32 != 0 || entry.nr_pages.is_none(), entry.nr_pages.is_some())
}

/// As the CRIU that took the dump has it, which the one that restores it may be as old as.
fn resize(entry: &mut PagemapEntry, like: &PagemapEntry, pages: u64) {
    let (old, new) = counted_in(like);
    entry.nr_pages_32 = if old { u32::try_from(pages).unwrap_or(u32::MAX) } else { 0 };
    entry.nr_pages = new.then_some(pages);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    const START: u64 = 0x7000_0000;

    /// One page's content is one number.
    type Memory = std::collections::BTreeMap<u64, u8>;

    fn write(directory: &Path, memory: &Memory, wide: bool) {
        let mut map = [0x5456_4319_u32, 0x5608_4025].map(u32::to_le_bytes).concat();
        let mut add = |entry: &[u8]| push("pagemap-1.img", entry, &mut map).unwrap();
        add(&PagemapHead { pages_id: 3 }.encode_to_vec());
        let mut pages = Vec::new();
        let mut stretch: Option<PagemapEntry> = None;
        for (at, content) in memory {
            pages.extend(vec![*content; page_size()]);
            let vaddr = START + at * page_size() as u64;
            match &mut stretch {
                Some(known) if end(known) == Some(vaddr) => {
                    let (like, grown) = (known.clone(), super::pages(known) + 1);
                    resize(known, &like, grown);
                }
                other => {
                    let nr_pages_32 = u32::from(!wide);
                    let next = PagemapEntry { vaddr, nr_pages_32, flags: Some(PRESENT), nr_pages: wide.then_some(1), in_parent: false };
                    if let Some(done) = other.replace(next) {
                        add(&done.encode_to_vec());
                    }
                }
            }
        }
        if let Some(done) = stretch {
            add(&done.encode_to_vec());
        }
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("pagemap-1.img"), map).unwrap();
        fs::write(directory.join("pages-3.img"), pages).unwrap();
    }

    /// As CRIU reads it: what is in the parent is looked up there.
    fn read(directory: &Path, parent: Option<&Memory>) -> Memory {
        let stored = Stored::open(directory, "pagemap-1.img").unwrap();
        assert!(stored.is_plain());
        let mut memory = Memory::new();
        let mut first = 0;
        for entry in &stored.entries {
            let begin = (entry.vaddr - START) / page_size() as u64;
            for at in begin..begin + pages(entry) {
                let content = if flags(entry) & IN_PARENT != 0 {
                    parent.unwrap()[&at]
                } else {
                    let mut page = vec![0; page_size()];
                    stored.read(first, &mut page).unwrap();
                    first += 1;
                    assert!(page.iter().all(|byte| *byte == page[0]));
                    page[0]
                };
                assert!(memory.insert(at, content).is_none());
            }
        }
        memory
    }

    fn memory() -> impl Strategy<Value = Memory> {
        prop::collection::btree_map(0..900_u64, 0..3_u8, 0..800)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn nothing_is_lost_and_nothing_travels_twice(before in memory(), now in memory(), wide in any::<bool>()) {
            let directory = tempfile::tempdir().unwrap();
            let (round, last) = (directory.path().join("round"), directory.path().join("last"));
            write(&round, &before, wide);
            write(&last, &now, wide);
            let left = leave_out(&last, &round).unwrap();
            let same = now.iter().filter(|(at, content)| before.get(at) == Some(content)).count() as u64;
            prop_assert_eq!(left, Left { written: now.len() as u64 - same, in_parent: same });
            prop_assert_eq!(fs::metadata(last.join("pages-3.img")).unwrap().len(), left.written * page_size() as u64);
            prop_assert_eq!(read(&last, Some(&before)), now);
            prop_assert_eq!(read(&round, None), before);
            prop_assert_eq!(fs::read_dir(&last).unwrap().count(), 2, "no file is left over");
        }
    }

    #[test]
    fn what_is_stored_otherwise_stays_whole() {
        let directory = tempfile::tempdir().unwrap();
        let (round, last) = (directory.path().join("round"), directory.path().join("last"));
        let content: Memory = (0..10).map(|at| (at, 1)).collect();
        write(&round, &content, true);
        write(&last, &content, true);
        // Compressed, or of a CRIU that stores something beside the pages.
        fs::write(round.join("pages-3.img"), vec![1; 5 * page_size()]).unwrap();
        assert_eq!(leave_out(&last, &round).unwrap(), Left { written: 10, in_parent: 0 });
        assert_eq!(read(&last, None), content);
        fs::remove_file(round.join("pagemap-1.img")).unwrap();
        assert_eq!(leave_out(&last, &round).unwrap(), Left { written: 10, in_parent: 0 });
        fs::write(last.join("pagemap-1.img"), b"no page map").unwrap();
        assert!(leave_out(&last, &round).is_err());
    }
}
