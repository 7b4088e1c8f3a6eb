//! What a checkpoint that is written here demands of the CPU elsewhere.

use procfs::{CpuInfo, FromRead as _};

use crate::check::Check;
use crate::doctor::host::Host;

/// The features that programs choose their code by, and that may be missing on an older CPU.
const TELLING: [&str; 13] =
    ["sse4_2", "avx", "avx2", "fma", "bmi2", "avx512f", "avx512vl", "avx_vnni", "amx_tile", "sha_ni", "vaes", "pku", "user_shstk"];

pub(super) fn checks(host: &Host) -> Vec<Check> {
    let mut checks = vec![features(host)];
    checks.extend(registers());
    checks
}

fn features(host: &Host) -> Check {
    let info = match CpuInfo::from_file(host.path("/proc/cpuinfo")) {
        Ok(info) => info,
        Err(error) => return Check::unknown("cpu", format!("/proc/cpuinfo: {error}")),
    };
    let model = info.model_name(0).unwrap_or(std::env::consts::ARCH);
    let Some(flags) = info.flags(0) else {
        return Check::unknown("cpu", format!("{model}: /proc/cpuinfo lists no flags"));
    };
    let telling: Vec<_> = TELLING.into_iter().filter(|flag| flags.contains(flag)).collect();
    Check::ok("cpu", format!("{model}: {} features, among them {}", flags.len(), telling.join(" ")))
}

/// The size of the register area: a checkpoint carries it, and a CPU with a smaller one cannot load it.
#[cfg(target_arch = "x86_64")]
fn registers() -> Option<Check> {
    let state = raw_cpuid::CpuId::new().get_extended_state_info()?;
    let parts = [
        (state.xcr0_supports_avx_256(), "avx"),
        (state.xcr0_supports_mpx_bndregs(), "mpx"),
        (state.xcr0_supports_avx512_opmask(), "avx512"),
        (state.xcr0_supports_pkru(), "pkru"),
    ];
    let parts: Vec<_> = parts.into_iter().filter_map(|(there, name)| there.then_some(name)).collect();
    Some(Check::ok(
        "cpu-xsave",
        format!(
            "{} bytes of registers in use ({}), {} possible: a checkpoint from here needs a CPU with the same",
            state.xsave_area_size_enabled_features(),
            parts.join(" "),
            state.xsave_area_size_supported_features()
        ),
    ))
}

#[cfg(not(target_arch = "x86_64"))]
fn registers() -> Option<Check> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckResult;
    use crate::doctor::host::fake::Fake;

    #[test]
    fn the_features_that_matter_are_listed() {
        let fake = Fake::new();
        assert_eq!(checks(&fake.host)[0].result, CheckResult::Unknown);
        fake.file("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu sse4_2 avx2\n\n");
        assert_eq!(features(&fake.host).reason, "Some CPU: 3 features, among them sse4_2 avx2");
        fake.file("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU\n\n");
        assert_eq!(features(&fake.host).result, CheckResult::Unknown);
    }
}
