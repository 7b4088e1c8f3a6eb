//! Facts of this machine that travel with a checkpoint.

use std::collections::BTreeMap;

use crate::archive::Manifest;

/// What this machine's processor can do, by the names of `/proc/cpuinfo`. Empty when it does not say.
pub(crate) fn cpu_features() -> Vec<String> {
    use procfs::Current as _;
    let Ok(info) = procfs::CpuInfo::current() else { return Vec::new() };
    let mut features: Vec<String> = info.flags(0).unwrap_or_default().into_iter().map(str::to_owned).collect();
    features.sort();
    features
}

/// This boot of the machine, by the kernel's own name for it. `None` where `/proc` is not to be read.
pub(crate) fn boot() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned()).filter(|boot| !boot.is_empty())
}

/// What a report shows of a manifest.
pub(crate) fn summary(manifest: &Manifest) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::from([
        ("criu".to_owned(), manifest.criu_version.clone()),
        ("architecture".to_owned(), manifest.architecture.clone()),
        ("kernel".to_owned(), manifest.kernel.clone()),
    ]);
    if let Some(runtime) = &manifest.runtime {
        facts.insert("runtime".to_owned(), format!("{} {}", runtime.name, runtime.version));
    }
    let containers: Vec<_> = manifest.containers.iter().map(|container| container.id.as_str()).collect();
    facts.insert("containers".to_owned(), containers.join(","));
    facts
}
