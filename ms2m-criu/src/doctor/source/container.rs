//! The container: what its runtime and its bundle say.

use std::{fs, io};

use ms2m_core::ErrorKind;
use serde_json::Value;

use super::{SourceError, SourceOptions};
use crate::doctor::FLAVORS;
use crate::doctor::config::{self, Config, Taker};
use crate::doctor::host::Host;
use crate::runtime::{ContainerState, ContainerStatus, Flavor, Runtime};

/// A running container.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) runtime: Flavor,
    pub(super) pid: i32,
    /// Its runtime configuration, `Null` when the bundle is gone.
    pub(super) spec: Value,
}

impl Container {
    /// Asks the runtimes. `None` when there is no such container and the name may be a process's id.
    pub(super) async fn find(options: &SourceOptions) -> Result<Option<Self>, SourceError> {
        let name = &options.source;
        for flavor in FLAVORS.into_iter().filter(|one| options.runtime.is_none_or(|wanted| wanted == *one)) {
            let mut runtime = Runtime::new(flavor);
            if let Some(root) = &options.runtime_root {
                runtime = runtime.with_root(root);
            }
            match runtime.state(name).await {
                Ok(Some(state)) => return Self::of(flavor, state).map(Some),
                Ok(None) => {}
                // Nobody has asked for this one.
                Err(error) if error.kind() == ErrorKind::Unsupported && options.runtime.is_none() => {}
                Err(_) if name.parse::<i32>().is_ok() => {}
                Err(source) => return Err(SourceError::Runtime { name: name.clone(), source }),
            }
        }
        if name.parse::<i32>().is_ok() { Ok(None) } else { Err(SourceError::NoSource(name.clone())) }
    }

    fn of(runtime: Flavor, state: ContainerState) -> Result<Self, SourceError> {
        if state.status != ContainerStatus::Running || state.pid <= 0 {
            return Err(SourceError::NotRunning { name: state.id, status: format!("{:?}", state.status).to_lowercase() });
        }
        // A spec that cannot be read is told in the line about mounts.
        let spec = fs::read(state.bundle.join("config.json")).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Ok(Self { name: state.id, runtime, pid: state.pid, spec: spec.unwrap_or_default() })
    }

    /// What CRIU will be told: a file that the spec names takes the place of the runtime's.
    pub(super) fn config(&self, host: &Host, taker: Taker) -> io::Result<Config> {
        if taker == Taker::Ms2m {
            return config::effective(host, &[config::OURS, config::OURS_FOR_CONTAINERS], None);
        }
        match self.annotation("org.criu.config") {
            Some(file) => host.read(file).map(|text| Config::parse(&text)),
            None => config::effective(host, &[], Some(self.runtime)),
        }
    }

    /// An annotation of the spec.
    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.spec.get("annotations")?.get(key)?.as_str()
    }

    /// Whether Kubernetes started it.
    pub(super) fn is_kubernetes(&self) -> bool {
        self.spec.get("annotations").and_then(Value::as_object).is_some_and(|all| all.keys().any(|key| key.starts_with("io.kubernetes.")))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::doctor::host::fake::Fake;

    fn state(status: ContainerStatus, bundle: PathBuf) -> ContainerState {
        ContainerState { id: "x".into(), pid: 7, status, bundle }
    }

    #[test]
    fn only_running_containers_are_looked_at() {
        let paused = Container::of(Flavor::Runc, state(ContainerStatus::Paused, "/b".into()));
        assert!(matches!(paused, Err(SourceError::NotRunning { status, .. }) if status == "paused"));
        let container = Container::of(Flavor::Crun, state(ContainerStatus::Running, "/nonexistent".into())).unwrap();
        assert!(container.spec.is_null() && !container.is_kubernetes());
    }

    #[test]
    fn the_taker_decides_which_configuration_counts() {
        let fake = Fake::new();
        fake.file("/b/config.json", r#"{"annotations": {"io.kubernetes.cri-o.Name": "x", "org.criu.config": "/my.conf"}}"#)
            .file("/my.conf", "shell-job\n");
        let container = Container::of(Flavor::Runc, state(ContainerStatus::Running, fake.root().join("b"))).unwrap();
        assert!(container.is_kubernetes());
        let has = |taker| ["shell-job", "file-locks"].map(|option| container.config(&fake.host, taker).unwrap().has(option));
        assert_eq!((has(Taker::Runtime), has(Taker::Ms2m)), ([true, false], [false, true]));
    }
}
