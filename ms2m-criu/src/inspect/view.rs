//! From what was gathered to what is told.

use std::collections::{BTreeMap, BTreeSet};

use super::InspectError;
use super::collect::{Collected, Part};
use super::mask::{mask_argument_list, mask_value, mask_variable};
use super::model::{ContainerView, FileView, Inspection, Pod, ProcessView, Round, SocketView, SourceKind};
use crate::archive::{Engine, Facts, Manifest, detect, own_facts};
use crate::check::CheckResult;
use crate::image::{Images, Machine, OpenFile, PagemapTotals, Process, Transport, feature_names, xstate_names};

pub(super) fn view(collected: Collected) -> Result<Inspection, InspectError> {
    let Collected { source, manifest, mut parts } = collected;
    let manifest = manifest.as_deref().map(Manifest::parse).transpose()?;
    let mut inspection = Inspection {
        source,
        engine: None,
        criu_version: None,
        kernel: None,
        architecture: None,
        cpu_features: vec![],
        containers: vec![],
        restorable: CheckResult::Unknown,
        checks: vec![],
    };
    let mut features = BTreeSet::new();
    if let Some(manifest) = &manifest {
        inspection.engine = Some(Engine::Ms2m);
        let told = |text: &str| (!text.is_empty()).then(|| mask_value(text));
        inspection.criu_version = told(&manifest.criu_version);
        inspection.kernel = told(&manifest.kernel);
        inspection.architecture = told(&manifest.architecture);
        features.extend(manifest.cpu_features.iter().take(1024).map(|name| mask_value(name)));
        for container in &manifest.containers {
            let part = parts.remove(&container.name).unwrap_or_default();
            let spec = part.documents.get("spec.json").map_or(&b"{}"[..], Vec::as_slice);
            let mut facts = own_facts(&container.name, &container.id, container.base_image.as_deref(), spec)?;
            facts.runtime = manifest.runtime.as_ref().map(|runtime| format!("{} {}", runtime.name, runtime.version));
            facts.checkpointed = manifest.taken_at_ms.map(rfc3339);
            inspection.add(part, facts, &mut features)?;
        }
    } else {
        let part = parts.remove("").unwrap_or_default();
        let facts = if inspection.source.kind == SourceKind::Images {
            Facts::default()
        } else {
            let document = |name: &str| part.documents.get(name).map(Vec::as_slice);
            let (engine, facts) = detect(document("config.dump"), document("spec.dump"))?;
            inspection.engine = Some(engine);
            facts
        };
        inspection.add(part, facts, &mut features)?;
    }
    inspection.cpu_features = features.into_iter().collect();
    Ok(inspection)
}

impl Inspection {
    fn add(&mut self, part: Part, facts: Facts, features: &mut BTreeSet<String>) -> Result<(), InspectError> {
        let images = Images::decode(&part.images)?;
        if let Some(log) = part.documents.get("dump.log") {
            let (criu, kernel) = versions(&String::from_utf8_lossy(log));
            self.criu_version = self.criu_version.take().or(criu);
            self.kernel = self.kernel.take().or(kernel);
        }
        let machine = images.processes.iter().map(|process| process.machine).find(|machine| *machine != Machine::Unknown);
        self.architecture = self.architecture.take().or(machine.map(|machine| machine.as_str().to_owned()));
        let xstate = images.processes.iter().fold(0, |all, process| all | process.xstate);
        features.extend(xstate_names(xstate).into_iter().map(str::to_owned));
        if let Some(cpu) = &images.cpu {
            features.extend(feature_names(&cpu.capability).into_iter().map(str::to_owned));
        }
        self.containers.push(container(part, facts, images)?);
        Ok(())
    }
}

fn container(part: Part, facts: Facts, images: Images) -> Result<ContainerView, InspectError> {
    let network = part.documents.get("network.status").map(Vec::as_slice);
    let connected = connections(&images);
    let mut addresses = told_addresses(&facts.annotations, network);
    if addresses.is_empty() {
        addresses.extend(connected.iter().map(|(local, _)| local.ip()).filter(|ip| !ip.is_loopback()).map(|ip| ip.to_string()));
    }
    let mut rounds: Vec<Round> = part
        .rounds
        .into_iter()
        .map(|(directory, (bytes, maps))| {
            let pages = maps
                .iter()
                .try_fold(PagemapTotals::default(), |sum, (name, map)| PagemapTotals::decode(name, map).map(|one| sum.plus(one)))?;
            Ok(Round { directory, bytes, pages })
        })
        .collect::<Result<_, InspectError>>()?;
    rounds.sort_by_key(|round| round.directory.strip_prefix("pre-").and_then(|number| number.parse::<u32>().ok()));
    let annotations: BTreeMap<_, _> = facts.annotations.iter().take(256).map(|(name, value)| annotation(name, value)).collect();
    Ok(ContainerView {
        pod: pod(&facts.annotations),
        name: kubernetes_name(&facts.annotations).unwrap_or_else(|| mask_value(&facts.name)),
        id: mask_value(&facts.id),
        image: facts.image.as_deref().map(mask_value),
        image_ref: facts.image_ref.as_deref().map(mask_value),
        runtime: facts.runtime.as_deref().map(mask_value),
        created: facts.created.as_deref().map(mask_value),
        checkpointed: facts.checkpointed.as_deref().map(mask_value),
        restored_before: facts.restored,
        hostname: images.hostname.clone().or(facts.hostname.as_deref().map(mask_value)),
        addresses: addresses.into_iter().collect(),
        args: mask_argument_list(&facts.args),
        cwd: facts.cwd.as_deref().map(mask_value),
        terminal: facts.terminal,
        env: facts.env.iter().map(|variable| mask_variable(variable)).collect(),
        annotations,
        sizes: part.sizes,
        processes: images.processes.iter().map(|process| view_process(process, &images.files, &connected)).collect(),
        mounts: facts.mounts,
        inventory: images.inventory,
        criu_mounts: images.mounts,
        pages: images.pages,
        rounds,
        dump: images.dump,
        restore: images.restore,
        ghosts: images.ghosts,
        file_locks: images.file_locks,
        missing: images.missing,
    })
}

type Ends = BTreeSet<(std::net::SocketAddr, std::net::SocketAddr)>;

/// Both ends of every TCP connection, as this checkpoint holds them.
fn connections(images: &Images) -> Ends {
    let inet = images.files.values().filter_map(|file| if let OpenFile::Inet(socket) = file { Some(socket) } else { None });
    inet.filter(|socket| socket.is_connection()).map(|socket| (socket.local, socket.peer)).collect()
}

fn view_process(process: &Process, files: &BTreeMap<u32, OpenFile>, connected: &Ends) -> ProcessView {
    let mut view = ProcessView {
        pid: process.pid,
        ppid: process.ppid,
        comm: process.comm.clone(),
        exe: process.exe.clone(),
        state: format!("{:?}", process.state).to_lowercase(),
        threads: process.threads.len() as u64,
        cwd: process.cwd.clone(),
        root: process.root.clone(),
        pages: process.pages,
        vmas: process.vmas.clone(),
        files: vec![],
        sockets: vec![],
    };
    for descriptor in &process.descriptors {
        let fd = descriptor.fd;
        let file = |what: String| FileView { fd, kind: descriptor.kind.as_str().into(), what };
        match files.get(&descriptor.file) {
            Some(OpenFile::Regular { path, position, .. }) => {
                let at = if *position == 0 { String::new() } else { format!(" (at {position})") };
                view.files.push(file(format!("{path}{at}")));
            }
            Some(OpenFile::Pipe { id } | OpenFile::Fifo { id }) => view.files.push(file(format!("[{id}]"))),
            Some(OpenFile::Tty { info }) => view.files.push(file(format!("terminal {info}"))),
            Some(OpenFile::Inet(socket)) => {
                let outer = socket.is_connection() && !connected.contains(&(socket.peer, socket.local));
                let kind = match socket.transport {
                    Transport::Tcp => "tcp".to_owned(),
                    Transport::Udp => "udp".to_owned(),
                    Transport::Other(number) => format!("ip protocol {number}"),
                };
                view.sockets.push(SocketView {
                    fd,
                    kind,
                    state: state_name(socket.state),
                    local: socket.local.to_string(),
                    peer: (socket.peer.port() != 0).then(|| socket.peer.to_string()),
                    outer,
                    send_buffer: socket.send_buffer,
                    receive_buffer: socket.receive_buffer,
                });
            }
            Some(OpenFile::Unix(socket)) => view.sockets.push(SocketView {
                fd,
                kind: format!("unix-{}", socket.kind),
                state: if socket.listens {
                    "listen"
                } else if socket.peer != 0 {
                    "connected"
                } else {
                    "open"
                }
                .into(),
                local: if socket.name.is_empty() { format!("[{}]", socket.inode) } else { socket.name.clone() },
                peer: (socket.peer != 0).then(|| format!("[{}]", socket.peer)),
                outer: false,
                send_buffer: 0,
                receive_buffer: 0,
            }),
            Some(OpenFile::Other(kind)) => view.files.push(file(kind.as_str().into())),
            None => view.files.push(file("of another process".into())),
        }
    }
    view
}

fn state_name(state: crate::image::TcpState) -> String {
    serde_json::to_value(state).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

fn annotation(name: &str, value: &str) -> (String, String) {
    // It holds a whole specification, environment included.
    let value = if name.contains("last-applied-configuration") {
        "***".into()
    } else {
        mask_variable(&format!("{}={value}", name.replace('=', "_"))).value
    };
    (mask_value(name), value.chars().take(512).collect())
}

fn pod(annotations: &BTreeMap<String, String>) -> Option<Pod> {
    let first = |names: [&str; 2]| names.iter().find_map(|name| annotations.get(*name)).map(|value| mask_value(value));
    Some(Pod {
        name: first(["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"])?,
        namespace: first(["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"])?,
        uid: first(["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"]),
    })
}

/// The kubelet's engines make a longer name of it.
fn kubernetes_name(annotations: &BTreeMap<String, String>) -> Option<String> {
    let names = ["io.kubernetes.cri.container-name", "io.kubernetes.container.name"];
    names.iter().find_map(|name| annotations.get(*name)).map(|name| mask_value(name))
}

/// CRI-O notes addresses in annotations, podman in `network.status`.
fn told_addresses(annotations: &BTreeMap<String, String>, network: Option<&[u8]>) -> BTreeSet<String> {
    let noted =
        annotations.range("io.kubernetes.cri-o.IP.".to_owned()..).take_while(|(name, _)| name.starts_with("io.kubernetes.cri-o.IP."));
    let mut found: BTreeSet<_> = noted.map(|(_, address)| mask_value(address)).take(64).collect();
    let networks: serde_json::Value = network.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
    let values = |value: &serde_json::Value| value.as_object().map(|map| map.values().cloned().collect::<Vec<_>>()).unwrap_or_default();
    for interface in values(&networks).iter().flat_map(|network| values(&network["interfaces"])) {
        for subnet in interface["subnets"].as_array().into_iter().flatten().take(64) {
            found.extend(subnet["ipnet"].as_str().map(|net| mask_value(net.split('/').next().unwrap_or(net))));
        }
    }
    found
}

/// CRIU's and the kernel's version from the top of `dump.log`.
fn versions(log: &str) -> (Option<String>, Option<String>) {
    let word = |line: &str| line.split_whitespace().next().map(mask_value);
    let behind = |mark: &str| log.lines().find_map(|line| line.split_once(mark).map(|(_, rest)| rest));
    let kernel = behind(" Running on ").and_then(|rest| rest.split_once(" Linux ")).and_then(|(_, rest)| word(rest));
    (behind(" Version: ").and_then(word), kernel)
}

/// Milliseconds since 1970 as people write it.
fn rfc3339(ms: u64) -> String {
    let (seconds, days) = (ms / 1000 % 86_400, ms / 86_400_000);
    // Days since 1 March of the year 0 make leap days fall on the end of a year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_do() {
        for (ms, text) in
            [(0, "1970-01-01T00:00:00Z"), (951_782_400_000, "2000-02-29T00:00:00Z"), (1_795_477_138_179, "2026-11-23T23:38:58Z")]
        {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn addresses_are_found_where_engines_note_them() {
        let annotations = BTreeMap::from([("io.kubernetes.cri-o.IP.0".to_owned(), "10.0.0.1".to_owned())]);
        let network = br#"{"podman":{"interfaces":{"eth0":{"subnets":[{"ipnet":"10.88.0.2/16"}]}}}}"#;
        assert_eq!(told_addresses(&annotations, Some(network)).into_iter().collect::<Vec<_>>(), ["10.0.0.1", "10.88.0.2"]);
        assert!(told_addresses(&BTreeMap::new(), Some(b"null")).is_empty());
    }
}
