//! How much an archive may ask of us.

/// Limits for reading an archive. The defaults suit checkpoints of up to 256 GiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Members, directories included. CRIU writes a handful per process and thread, so 65,536 is far above what engines produce.
    pub members: u32,
    /// Bytes of a member's name. 512.
    pub name_bytes: usize,
    /// Directories above a member. 16.
    pub depth: usize,
    /// Bytes of one member. 256 GiB.
    pub member_bytes: u64,
    /// Bytes of all members together. 256 GiB.
    pub total_bytes: u64,
    /// Bytes of one document that is read into memory (`manifest.json`, `config.dump`, `spec.dump` …). 4 MiB.
    pub document_bytes: u64,
    /// Zeros behind the end of the archive. 1 MiB; tar's own padding is below 10 KiB.
    pub trailing_bytes: u64,
    /// How many times larger decompressed data may be than what it was decompressed from, once it exceeds
    /// [`ratio_free_bytes`](Self::ratio_free_bytes). 1,000.
    pub ratio: u64,
    /// Decompressed bytes up to which the ratio does not matter. 64 MiB.
    pub ratio_free_bytes: u64,
    /// Binary logarithm of the largest zstd window. 25 (32 MiB of memory); podman uses 23.
    pub window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            members: 65_536,
            name_bytes: 512,
            depth: 16,
            member_bytes: 256 << 30,
            total_bytes: 256 << 30,
            document_bytes: 4 << 20,
            trailing_bytes: 1 << 20,
            ratio: 1_000,
            ratio_free_bytes: 64 << 20,
            window_log: 25,
        }
    }
}
