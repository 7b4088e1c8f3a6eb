//! The container: what its runtime and its bundle say.

use std::ffi::OsString;
use std::path::PathBuf;
use std::{fs, io};

use serde::Deserialize;
use serde_json::Value;

use super::tool::{self, ToolError};
use super::{Runtime, SourceError, SourceOptions};
use crate::doctor::config::{self, Config};
use crate::doctor::host::Host;

/// A running container.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) runtime: Runtime,
    pub(super) pid: i32,
    /// Its runtime configuration, `Null` when the bundle is gone.
    pub(super) spec: Value,
}

#[derive(Deserialize)]
struct State {
    status: String,
    pid: i32,
    bundle: PathBuf,
}

impl Container {
    /// Asks the runtimes. `None` when there is no such container and the name may be a process's id.
    pub(super) async fn find(options: &SourceOptions) -> Result<Option<Self>, SourceError> {
        let name = &options.source;
        for runtime in Runtime::ALL.into_iter().filter(|one| options.runtime.is_none_or(|wanted| wanted == *one)) {
            let root = options.runtime_root.iter().flat_map(|root| ["--root".into(), root.clone().into_os_string()]);
            let arguments = root.chain(["state".into(), "--".into(), name.into()]).collect::<Vec<OsString>>();
            match tool::ask(runtime.as_str(), arguments).await {
                Ok(said) if said.success => return Self::from_state(name, runtime, &said.out).map(Some),
                Ok(_) | Err(ToolError::NotFound) => {}
                Err(error) => return Err(SourceError::State { runtime: runtime.as_str(), name: name.clone(), reason: error.to_string() }),
            }
        }
        if options.source.parse::<i32>().is_ok() { Ok(None) } else { Err(SourceError::NoSource(name.clone())) }
    }

    fn from_state(name: &str, runtime: Runtime, state: &str) -> Result<Self, SourceError> {
        let wrong = |reason: String| SourceError::State { runtime: runtime.as_str(), name: name.to_owned(), reason };
        let state: State = serde_json::from_str(state).map_err(|error| wrong(error.to_string()))?;
        if state.status != "running" || state.pid <= 0 {
            return Err(SourceError::NotRunning { name: name.to_owned(), status: state.status });
        }
        let spec = match fs::read(state.bundle.join("config.json")) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| wrong(format!("config.json of the bundle: {error}")))?,
            Err(_) => Value::Null,
        };
        Ok(Self { name: name.to_owned(), runtime, pid: state.pid, spec })
    }

    /// What CRIU will be told: a file that the spec names takes the place of the runtime's.
    pub(super) fn config(&self, host: &Host) -> io::Result<Config> {
        match self.annotation("org.criu.config") {
            Some(file) => host.read(file).map(|text| Config::parse(&text)),
            None => config::effective(host, Some(self.runtime)),
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
    use super::*;
    use crate::doctor::host::fake::Fake;

    #[test]
    fn only_running_containers_are_looked_at() {
        let fake = Fake::new();
        fake.file("/b/config.json", r#"{"annotations": {"io.kubernetes.cri-o.Name": "x", "org.criu.config": "/my.conf"}}"#)
            .file("/my.conf", "file-locks\n");
        let state = format!(r#"{{"status": "running", "pid": 7, "bundle": "{}"}}"#, fake.root().join("b").display());
        let container = Container::from_state("x", Runtime::Runc, &state).unwrap();
        assert!(container.is_kubernetes() && container.pid == 7);
        assert!(container.config(&fake.host).unwrap().has("file-locks"));
        let paused = Container::from_state("x", Runtime::Runc, &state.replace("running", "paused"));
        assert!(matches!(paused, Err(SourceError::NotRunning { .. })));
        assert!(matches!(Container::from_state("x", Runtime::Crun, "{}"), Err(SourceError::State { runtime: "crun", .. })));
    }

    #[test]
    fn a_bundle_that_is_gone_leaves_an_empty_spec() {
        let state = r#"{"status": "running", "pid": 7, "bundle": "/nonexistent"}"#;
        let container = Container::from_state("x", Runtime::Crun, state).unwrap();
        assert!(container.spec.is_null() && !container.is_kubernetes());
    }
}
