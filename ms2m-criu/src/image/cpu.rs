//! What the images say of the processor.

use serde::{Deserialize, Serialize};

use super::messages::CpuinfoX86;
use super::text;

/// A processor as `cpuinfo.img` has it (x86 only).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CpuInfo {
    /// `Intel`, `AMD` or `unknown`.
    pub vendor: String,
    /// Family.
    pub family: u32,
    /// Model.
    pub model: u32,
    /// The processor's own name.
    pub name: String,
    /// Feature words, in the kernel's order.
    pub capability: Vec<u32>,
    /// Register states that XSAVE covers.
    pub xfeatures: u64,
}

impl CpuInfo {
    pub(super) fn of(entry: CpuinfoX86) -> Self {
        let vendor = match entry.vendor {
            1 => "Intel",
            2 => "AMD",
            _ => "unknown",
        };
        Self {
            vendor: vendor.into(),
            family: entry.family,
            model: entry.model,
            name: text(&entry.model_id.unwrap_or_default()).trim_matches(['\u{fffd}', ' ']).into(),
            capability: entry.capability.into_iter().take(64).collect(),
            xfeatures: entry.xfeatures.unwrap_or(0),
        }
    }
}

/// Features that compiled code uses without asking the kernel: word, bit, and the name in `/proc/cpuinfo`.
const FEATURES: [(usize, u32, &str); 35] = [
    (0, 8, "cx8"),
    (0, 15, "cmov"),
    (0, 25, "sse"),
    (0, 26, "sse2"),
    (1, 29, "lm"),
    (4, 0, "pni"),
    (4, 1, "pclmulqdq"),
    (4, 9, "ssse3"),
    (4, 12, "fma"),
    (4, 13, "cx16"),
    (4, 19, "sse4_1"),
    (4, 20, "sse4_2"),
    (4, 22, "movbe"),
    (4, 23, "popcnt"),
    (4, 25, "aes"),
    (4, 26, "xsave"),
    (4, 28, "avx"),
    (4, 29, "f16c"),
    (4, 30, "rdrand"),
    (6, 5, "abm"),
    (6, 6, "sse4a"),
    (6, 16, "fma4"),
    (9, 0, "fsgsbase"),
    (9, 3, "bmi1"),
    (9, 5, "avx2"),
    (9, 8, "bmi2"),
    (9, 9, "erms"),
    (9, 16, "avx512f"),
    (9, 17, "avx512dq"),
    (9, 18, "rdseed"),
    (9, 19, "adx"),
    (9, 28, "avx512cd"),
    (9, 29, "sha_ni"),
    (9, 30, "avx512bw"),
    (9, 31, "avx512vl"),
];

/// The names, as in `/proc/cpuinfo`, of the features in CRIU's feature words that programs use by themselves.
#[must_use]
pub fn feature_names(capability: &[u32]) -> Vec<&'static str> {
    FEATURES
        .iter()
        .filter(|(word, bit, _)| capability.get(*word).is_some_and(|bits| bits >> bit & 1 == 1))
        .map(|(.., name)| *name)
        .collect()
}

/// The features, as in `/proc/cpuinfo`, whose registers are in use according to XSAVE's component bits.
#[must_use]
pub fn xstate_names(components: u64) -> Vec<&'static str> {
    [(2, "avx"), (5, "avx512f"), (6, "avx512f"), (7, "avx512f"), (9, "pku"), (17, "amx_tile"), (18, "amx_tile")]
        .into_iter()
        .filter(|(bit, _)| components >> bit & 1 == 1)
        .map(|(_, name)| name)
        .fold(Vec::new(), |mut names, name| {
            if !names.contains(&name) {
                names.push(name);
            }
            names
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_names() {
        assert_eq!(feature_names(&[1 << 26, 0, 0, 0, 1 << 20]), ["sse2", "sse4_2"]);
        assert_eq!(feature_names(&[]), Vec::<&str>::new());
        assert_eq!(xstate_names(0b1110_0111), ["avx", "avx512f"]);
    }
}
