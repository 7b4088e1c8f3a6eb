//! How much a layout may ask of us.

/// Limits for reading a layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one JSON document: index, manifest or configuration. 4 MiB, as much as registries take.
    pub document_bytes: u64,
    /// Bytes of a layer, and of the archive that it holds. 256 GiB.
    pub layer_bytes: u64,
    /// Images of one layout. 1,024.
    pub images: usize,
    /// Members of a layout that is a tar. 8,192.
    pub members: usize,
    /// Binary logarithm of the largest zstd window. 27, as the tools of containers write at most.
    pub window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { document_bytes: 4 << 20, layer_bytes: 256 << 30, images: 1024, members: 8192, window_log: 27 }
    }
}
