//! For people: a tree.

use std::fmt;

use super::model::{ContainerView, Inspection, ProcessView, SourceKind};
use crate::check::CheckResult;
use crate::image::PagemapTotals;

/// A line and what belongs to it.
struct Node(String, Vec<Node>);

impl Node {
    fn leaf(text: impl Into<String>) -> Self {
        Self(text.into(), vec![])
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        for (at, child) in self.1.iter().enumerate() {
            let last = at + 1 == self.1.len();
            writeln!(f, "{indent}{}{}", if last { "└─ " } else { "├─ " }, child.0)?;
            child.write(f, &format!("{indent}{}", if last { "   " } else { "│  " }))?;
        }
        Ok(())
    }
}

/// Bytes as people write them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (0..UNITS.len() - 1).find(|unit| bytes >> (10 * (unit + 1)) == 0).unwrap_or(UNITS.len() - 1);
    if unit == 0 {
        return format!("{bytes} B");
    }
    let scale = 1_u128 << (10 * unit);
    let tenths = (u128::from(bytes) * 10 + scale / 2) / scale;
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

fn micros(us: u32) -> String {
    format!("{}.{:03} ms", us / 1000, us % 1000)
}

fn pages(totals: &PagemapTotals) -> String {
    let mut text = format!("{} pages", totals.present);
    for (count, what) in [(totals.in_parent, "in the round before"), (totals.lazy, "lazy")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

/// A name and a value, where there is one.
fn fact(nodes: &mut Vec<Node>, name: &str, value: Option<&str>) {
    nodes.extend(value.filter(|value| !value.is_empty()).map(|value| Node::leaf(format!("{name}: {value}"))));
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = self.engine.map_or("CRIU images", |engine| engine.as_str());
        let form = match (self.source.kind, self.source.compression) {
            (SourceKind::Archive, Some(crate::archive::Compression::Gzip)) => "archive, gzip",
            (SourceKind::Archive, Some(crate::archive::Compression::Zstd)) => "archive, zstd",
            (SourceKind::Archive, _) => "archive",
            (SourceKind::Image, _) => "OCI image",
            _ => "directory",
        };
        writeln!(f, "{}: {engine}, {form}, {}, {} files", self.source.path, size(self.source.bytes), self.source.members)?;
        let mut nodes = vec![];
        fact(&mut nodes, "CRIU", self.criu_version.as_deref());
        fact(&mut nodes, "kernel", self.kernel.as_deref());
        fact(&mut nodes, "architecture", self.architecture.as_deref());
        fact(&mut nodes, "CPU features in use", Some(&self.cpu_features.join(" ")));
        nodes.extend(self.containers.iter().map(ContainerView::node));
        Node(String::new(), nodes).write(f, "")?;
        let verdict = match self.restorable {
            CheckResult::Ok => "can be restored here",
            CheckResult::Unknown => "can be restored here as far as is known",
            CheckResult::Warn => "can be restored here, with reservations",
            CheckResult::Fail => "cannot be restored here as things are",
        };
        writeln!(f, "\nVerdict: {verdict}")?;
        self.checks.iter().try_for_each(|check| writeln!(f, "  {check}"))
    }
}

impl ContainerView {
    fn node(&self) -> Node {
        let mut nodes = vec![];
        fact(&mut nodes, "id", Some(&self.id));
        if let Some(pod) = &self.pod {
            fact(&mut nodes, "pod", Some(&format!("{}/{}", pod.namespace, pod.name)));
            fact(&mut nodes, "pod uid", pod.uid.as_deref());
        }
        fact(&mut nodes, "image", self.image.as_deref());
        fact(&mut nodes, "image reference", self.image_ref.as_deref().filter(|reference| Some(*reference) != self.image.as_deref()));
        fact(&mut nodes, "runtime", self.runtime.as_deref());
        fact(&mut nodes, "created", self.created.as_deref());
        fact(&mut nodes, "checkpointed", self.checkpointed.as_deref());
        fact(&mut nodes, "restored before", self.restored_before.then_some("yes"));
        fact(&mut nodes, "host name", self.hostname.as_deref());
        fact(&mut nodes, "addresses", Some(&self.addresses.join(" ")));
        fact(&mut nodes, "command", Some(&self.args.join(" ")));
        nodes.push(self.sizes_node());
        nodes.extend(self.statistics());
        nodes.push(Node("processes".into(), self.children(None, 0)));
        let env = self.env.iter().map(|variable| Node::leaf(format!("{}={}", variable.name, variable.value)));
        let mounts = self.mounts.iter().map(|mount| Node::leaf(format!("{} ({}) from {}", mount.destination, mount.kind, mount.source)));
        let annotations = self.annotations.iter().map(|(name, value)| Node::leaf(format!("{name}: {value}")));
        let ghosts = self.ghosts.iter().map(|ghost| Node::leaf(format!("{}: {}", ghost.image, size(ghost.size))));
        for (name, children) in [
            ("environment", env.collect::<Vec<_>>()),
            ("mounts", mounts.collect()),
            ("deleted open files", ghosts.collect()),
            ("annotations", annotations.collect()),
        ] {
            if !children.is_empty() {
                nodes.push(Node(name.into(), children));
            }
        }
        fact(&mut nodes, "file locks", (self.file_locks > 0).then(|| self.file_locks.to_string()).as_deref());
        let name = if self.name.is_empty() { "processes without a container" } else { &self.name };
        Node(name.into(), nodes)
    }

    fn sizes_node(&self) -> Node {
        let sizes = &self.sizes;
        let mut nodes = vec![Node::leaf(format!("pages: {}", size(sizes.pages)))];
        fact(&mut nodes, "writable layer", sizes.rootfs_diff.map(size).as_deref());
        fact(&mut nodes, "volumes", (sizes.volumes > 0).then(|| size(sizes.volumes)).as_deref());
        for round in &self.rounds {
            nodes.push(Node::leaf(format!("{}: {}, {}", round.directory, size(round.bytes), pages(&round.pages))));
        }
        Node(format!("checkpoint: {}", size(sizes.checkpoint)), nodes)
    }

    fn statistics(&self) -> Option<Node> {
        let mut nodes = vec![];
        if let Some(dump) = &self.dump {
            nodes.push(Node::leaf(format!("frozen: {} (after {} of freezing)", micros(dump.frozen_us), micros(dump.freezing_us))));
            nodes.push(Node::leaf(format!("memory: dumped in {}, written in {}", micros(dump.memdump_us), micros(dump.memwrite_us))));
            let counts = (dump.pages_scanned, dump.pages_written, dump.pages_skipped_parent, dump.pages_lazy);
            nodes.push(Node::leaf(format!(
                "pages: {} scanned, {} written, {} left to the round before, {} lazy",
                counts.0, counts.1, counts.2, counts.3
            )));
        }
        if let Some(restore) = &self.restore {
            let text = format!(
                "restored in {} (forking {}), {} pages",
                micros(restore.restore_us),
                micros(restore.forking_us),
                restore.pages_restored
            );
            nodes.push(Node::leaf(text));
        }
        (!nodes.is_empty()).then(|| Node("statistics".into(), nodes))
    }

    /// The processes below `parent`; with none, those whose parent is not among them.
    fn children(&self, parent: Option<u32>, depth: usize) -> Vec<Node> {
        // A stranger's tree may be a circle.
        if depth > 64 {
            return vec![Node::leaf("…")];
        }
        let known = |pid: u32| self.processes.iter().any(|process| process.pid == pid);
        let below = self.processes.iter().filter(|process| match parent {
            Some(parent) => process.ppid == parent && process.pid != parent,
            None => process.ppid == process.pid || !known(process.ppid),
        });
        below
            .map(|process| {
                let mut node = process.node();
                node.1.extend(self.children(Some(process.pid), depth + 1));
                node
            })
            .collect()
    }
}

impl ProcessView {
    fn node(&self) -> Node {
        let threads = if self.threads > 1 { format!(", {} threads", self.threads) } else { String::new() };
        let state = if self.state == "alive" { String::new() } else { format!(", {}", self.state) };
        let mut nodes = vec![];
        fact(&mut nodes, "executable", self.exe.as_deref());
        fact(&mut nodes, "working directory", self.cwd.as_deref());
        fact(&mut nodes, "root", self.root.as_deref().filter(|root| *root != "/"));
        let vmas = self.vmas.iter().map(|vma| Node::leaf(format!("{}: {} in {} mappings", vma.kind, size(vma.bytes), vma.count)));
        nodes.push(Node(format!("memory: {}", pages(&self.pages)), vmas.collect()));
        let files = self.files.iter().map(|file| Node::leaf(format!("{:>3} {} {}", file.fd, file.kind, file.what)));
        let sockets = self.sockets.iter().map(|socket| {
            let peer = socket.peer.as_ref().map(|peer| format!(" -> {peer}")).unwrap_or_default();
            let outer = if socket.outer { ", outside" } else { "" };
            Node::leaf(format!("{:>3} {} {} {}{peer}{outer}", socket.fd, socket.kind, socket.state, socket.local))
        });
        for (name, children) in [("open files", files.collect::<Vec<_>>()), ("sockets", sockets.collect())] {
            if !children.is_empty() {
                nodes.push(Node(name.into(), children));
            }
        }
        Node(format!("[{}] {}{threads}{state}", self.pid, self.comm), nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (270_847, "264.5 KiB"), (u64::MAX, "16777216.0 TiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
