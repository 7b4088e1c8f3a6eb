//! What containerd must know of ms2m-runtime.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ms2m_core::{Error, ErrorKind, Result};
use toml::{Table, Value};

/// The part of containerd that makes pods, in its versions 2 and 1.
const PLUGINS: [&str; 2] = ["io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"];
const ANNOTATIONS: &str = "migration.ms2m.io/*";
/// For containerd to tell its configuration.
const WITHIN: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

/// That of the containerd which runs here, with all files that it includes; `None` when none runs.
pub(crate) fn configuration() -> Result<Option<Table>> {
    let Some((program, file)) = running() else { return Ok(None) };
    let mut command = Command::new(&program);
    if let Some(file) = file {
        command.arg("--config").arg(file);
    }
    let cannot = |why: &str| {
        let message = format!("containerd does not tell its configuration: {why}; --unchecked installs without looking");
        Error::retry(ErrorKind::Unavailable, message).with("program", program.display())
    };
    let told = tempfile::tempfile().and_then(|file| Ok((file.try_clone()?, file)));
    let (told, output) = told.map_err(|error| cannot("no room for it").caused_by(error))?;
    let child = command.args(["config", "dump"]).stdin(Stdio::null()).stdout(output).stderr(Stdio::null()).spawn();
    let mut child = child.map_err(|error| cannot("it cannot be started").caused_by(error))?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < WITHIN => sleep(LOOK),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(cannot("it takes too long"));
            }
        }
    };
    if !status.success() {
        return Err(cannot(&format!("`containerd config dump` ended with {status}")));
    }
    let text = read(told).map_err(|error| cannot("it cannot be read").caused_by(error))?;
    text.parse().map(Some).map_err(|error: toml::de::Error| cannot("it is not understood").caused_by(error))
}

fn read(mut file: std::fs::File) -> std::io::Result<String> {
    use std::io::{Read as _, Seek as _};
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Its program, and the file that it was told to read.
fn running() -> Option<(PathBuf, Option<PathBuf>)> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    processes.into_iter().find_map(|process| {
        let name = std::fs::read_to_string(process.join("comm")).ok()?;
        if name.trim_end() != "containerd" {
            return None;
        }
        let words = std::fs::read(process.join("cmdline")).ok()?;
        let words: Vec<_> = String::from_utf8_lossy(&words).split('\0').map(str::to_owned).collect();
        Some((std::fs::read_link(process.join("exe")).ok()?, named(&words)))
    })
}

fn named(words: &[String]) -> Option<PathBuf> {
    words.iter().enumerate().find_map(|(at, word)| match word.as_str() {
        "--config" | "-c" | "-config" => words.get(at + 1).map(PathBuf::from),
        word => word.strip_prefix("--config=").or_else(|| word.strip_prefix("-c=")).map(PathBuf::from),
    })
}

/// What of it is not there, in words.
pub(super) fn missing(configuration: &Table, handler: &str, binary: &Path) -> Vec<String> {
    let plugins = configuration.get("plugins").and_then(Value::as_table);
    let runtime = plugins
        .and_then(|plugins| PLUGINS.iter().find_map(|plugin| plugins.get(*plugin)?.get("containerd")?.get("runtimes")?.get(handler)));
    let Some(runtime) = runtime else { return vec![format!("the runtime {handler:?}")] };
    let mut missing = Vec::new();
    let name = runtime.get("options").and_then(|options| options.get("BinaryName")).and_then(Value::as_str).unwrap_or_default();
    if Path::new(name) != binary {
        missing.push(format!("BinaryName = {:?} (it is {name:?})", binary.display().to_string()));
    }
    let annotations = runtime.get("pod_annotations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !annotations.iter().filter_map(Value::as_str).any(|one| matches!(one, ANNOTATIONS | "*")) {
        missing.push(format!("pod_annotations = [{ANNOTATIONS:?}]"));
    }
    missing
}

/// Whether one of its runtimes is a program of this name, and is told of copies.
pub(crate) fn knows(configuration: &Table, name: &str) -> bool {
    let plugins = configuration.get("plugins").and_then(Value::as_table);
    let runtimes = plugins
        .iter()
        .flat_map(|plugins| PLUGINS.iter().filter_map(|plugin| plugins.get(*plugin)?.get("containerd")?.get("runtimes")?.as_table()));
    runtimes.flat_map(Table::iter).any(|(handler, runtime)| {
        let binary = runtime.get("options").and_then(|options| options.get("BinaryName")).and_then(Value::as_str).unwrap_or_default();
        Path::new(binary).file_name().is_some_and(|file| file == name) && missing(configuration, handler, Path::new(binary)).is_empty()
    })
}

/// What is to be written into it.
pub(super) fn wanted(handler: &str, binary: &Path) -> String {
    let runtime = format!("[plugins.'{}'.containerd.runtimes.{handler}", PLUGINS[0]);
    format!(
        "{runtime}]\n  runtime_type = 'io.containerd.runc.v2'\n  pod_annotations = ['{ANNOTATIONS}']\n{runtime}.options]\n  \
         BinaryName = '{}'\n(with containerd 1, '{}' instead; SystemdCgroup as for runc)",
        binary.display(),
        PLUGINS[1]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINARY: &str = "/opt/ms2m/bin/ms2m-runtime";

    fn lacks(text: &str) -> Vec<String> {
        missing(&text.parse().unwrap(), "ms2m", Path::new(BINARY))
    }

    #[test]
    fn what_is_wanted_is_complete() {
        let wanted = wanted("ms2m", Path::new(BINARY));
        let toml = wanted.rsplit_once("\n(").unwrap().0;
        assert_eq!(lacks(toml), [""; 0]);
        assert_eq!(lacks(&toml.replace("io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri")), [""; 0]);
    }

    #[test]
    fn a_node_with_our_runtime_is_known_by_any_handler() {
        let knows = |text: &str| knows(&text.parse().unwrap(), "ms2m-runtime");
        let toml = wanted("other", Path::new(BINARY)).rsplit_once("\n(").unwrap().0.to_owned();
        assert!(knows(&toml));
        assert!(
            !knows(&toml.replace("ms2m-runtime", "runc")) && !knows(&toml.replace("migration.ms2m.io", "x")) && !knows("version = 3\n")
        );
    }

    #[test]
    fn each_thing_that_is_missing_is_named() {
        assert_eq!(lacks("version = 3\n"), ["the runtime \"ms2m\""]);
        let (head, options) = ("[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.ms2m", "BinaryName = '/usr/bin/runc'");
        let found = lacks(&format!("{head}]\npod_annotations = ['other/*']\n{head}.options]\n{options}\n"));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("/usr/bin/runc") && found[0].contains(BINARY), "{found:?}");
        let found = lacks(&format!("{head}]\n"));
        assert!(found.len() == 2 && found[1] == "pod_annotations = [\"migration.ms2m.io/*\"]", "{found:?}");
    }

    #[test]
    fn the_file_is_the_one_that_containerd_was_told() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(named(&words("containerd")), None);
        for line in
            ["containerd --config /k3s.toml --root /x", "containerd -c /k3s.toml", "containerd --log-level debug --config=/k3s.toml"]
        {
            assert_eq!(named(&words(line)), Some("/k3s.toml".into()), "{line}");
        }
    }
}
