//! Right checksums, without which a changed tar gets no further than its first header.

const BLOCK: usize = 512;

/// Writes the magic and the checksum of every header of a tar, as far as its sizes lead from one to the next.
pub(crate) fn mend(tar: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + BLOCK) {
        if header.iter().any(|byte| *byte != 0) {
            header[257..263].copy_from_slice(b"ustar\0");
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let size = std::str::from_utf8(&header[124..135]).ok().and_then(|text| usize::from_str_radix(text.trim_matches('\0'), 8).ok());
        at = at.saturating_add(BLOCK).saturating_add(size.unwrap_or(0).saturating_add(BLOCK - 1) / BLOCK * BLOCK);
        if at > tar.len() {
            return;
        }
    }
}
