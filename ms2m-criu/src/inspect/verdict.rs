//! Whether it can be restored here, line by line.

use std::collections::BTreeSet;

use super::machine::Here;
use super::model::{ContainerView, Inspection, SourceKind};
use crate::archive::Engine;
use crate::check::{Check, worst};
use crate::image::FORMAT;

impl Inspection {
    /// Holds the checkpoint against a machine: fills in [`checks`](Self::checks) and [`restorable`](Self::restorable).
    pub fn judge(&mut self, here: &Here) {
        let mut checks = vec![self.architecture_check(here), self.cpu(here), self.criu(here), self.kernel_check(here), self.memory(here)];
        for container in &self.containers {
            let at = if self.containers.len() > 1 { format!(" of {}", container.name) } else { String::new() };
            let lines = [
                container.images(),
                self.base_image(container),
                container.connections(),
                container.terminal(),
                container.io_uring(),
                container.devices(),
                container.external_mounts(),
                self.layer(container),
                container.locks(),
                container.security(),
            ];
            checks.extend(lines.into_iter().flatten().map(|mut check| {
                check.name.push_str(&at);
                check
            }));
        }
        self.restorable = worst(&checks);
        self.checks = checks;
    }

    fn architecture_check(&self, here: &Here) -> Check {
        match &self.architecture {
            Some(own) if *own == here.architecture => Check::ok("architecture", format!("{own}, as here")),
            Some(own) => Check::fail("architecture", format!("{own}, and here is {}", here.architecture))
                .remedy(format!("restore on a node with {own}")),
            None => Check::unknown("architecture", "the images do not say"),
        }
    }

    fn cpu(&self, here: &Here) -> Check {
        let Some(have) = &here.cpu_features else {
            return Check::unknown("cpu features", "this machine's could not be read from /proc/cpuinfo");
        };
        if self.cpu_features.is_empty() {
            return Check::unknown("cpu features", "the checkpoint does not record which ones it uses")
                .remedy("restore on the same CPU model or a newer one");
        }
        let missing: Vec<_> = self.cpu_features.iter().filter(|name| !have.contains(*name)).map(String::as_str).collect();
        if missing.is_empty() {
            return Check::ok("cpu features", format!("all that are recorded are here ({})", self.cpu_features.len()));
        }
        Check::fail("cpu features", format!("missing here: {}", missing.join(" "))).remedy("restore on a node whose CPU has them")
    }

    fn criu(&self, here: &Here) -> Check {
        let Some(installed) = &here.criu else {
            return Check::fail("criu", "not installed here, or not in PATH").remedy("install CRIU 4.2 or later");
        };
        let (have, kernel) = (version(installed), version(&here.kernel));
        if kernel >= [6, 16] && have < [4, 2] {
            return Check::fail("criu", format!("{installed} does not work on kernel {}", here.kernel)).remedy("install CRIU 4.2 or later");
        }
        match &self.criu_version {
            Some(own) if have < version(own) => {
                Check::warn("criu", format!("the images are from {own}, and here is the older {installed}"))
                    .remedy(format!("install CRIU {own} or later"))
            }
            Some(own) => Check::ok("criu", format!("images from {own}, here {installed}")),
            None => Check::unknown("criu", format!("here {installed}; the checkpoint does not say by which it was taken")),
        }
    }

    fn kernel_check(&self, here: &Here) -> Check {
        match &self.kernel {
            Some(own) if version(&here.kernel) < version(own) => {
                Check::warn("kernel", format!("taken on {own}, and here is the older {}", here.kernel))
                    .remedy("restore on a node with the same kernel or a newer one")
            }
            Some(own) => Check::ok("kernel", format!("taken on {own}, here {}", here.kernel)),
            None => Check::unknown("kernel", "the checkpoint does not say on which it was taken"),
        }
    }

    fn memory(&self, here: &Here) -> Check {
        let need = self.containers.iter().map(|container| container.sizes.pages.saturating_add(container.sizes.pre_dumps)).sum::<u64>();
        match here.memory_available {
            Some(have) if need > have => {
                Check::fail("memory", format!("{} of pages, and {} are available", super::text::size(need), super::text::size(have)))
                    .remedy("make room, or restore on a larger node")
            }
            Some(have) => Check::ok("memory", format!("{} of pages, {} available", super::text::size(need), super::text::size(have))),
            None => Check::unknown("memory", "what is available could not be read from /proc/meminfo"),
        }
    }

    fn base_image(&self, container: &ContainerView) -> Option<Check> {
        if self.source.kind == SourceKind::Images {
            return None;
        }
        let reference = container.image_ref.as_deref().or(container.image.as_deref());
        Some(match reference {
            Some(by_digest) if by_digest.contains("@sha256:") => {
                Check::ok("base image", format!("{by_digest} (must be on the node, or be pulled)"))
            }
            Some(other) if self.engine == Some(Engine::Ms2m) => Check::fail("base image", format!("{other} is not named by digest"))
                .remedy("take the checkpoint of a container whose image has a digest"),
            Some(other) => {
                Check::warn("base image", format!("{other} is no digest reference; only a node that has this very image can restore it"))
                    .remedy("push the image to a registry and run the container from NAME@DIGEST")
            }
            None => Check::unknown("base image", "not recorded"),
        })
    }

    fn layer(&self, container: &ContainerView) -> Option<Check> {
        if self.source.kind == SourceKind::Images {
            return Some(
                Check::unknown("writable layer", "images alone do not hold it").remedy("bring the files that the processes had open"),
            );
        }
        Some(match container.sizes.rootfs_diff {
            Some(_) if self.engine == Some(Engine::CriO) => {
                Check::warn("writable layer", "CRI-O may leave out files of the image that were modified")
                    .remedy("compare with the upper directory before the source is gone")
            }
            Some(bytes) => Check::ok("writable layer", format!("{} in rootfs-diff.tar", super::text::size(bytes))),
            None => Check::warn("writable layer", "rootfs-diff.tar is missing: files that the container wrote are not here")
                .remedy("restore only if nothing was written into the container's own file system"),
        })
    }
}

impl ContainerView {
    fn images(&self) -> Option<Check> {
        let version = self.inventory.as_ref().map(|inventory| inventory.version);
        Some(if version.is_none() || self.processes.is_empty() {
            Check::fail("images", "inventory.img or pstree.img is missing").remedy("take the checkpoint again")
        } else if version != Some(FORMAT) {
            Check::fail("images", format!("of format {}, which is not known", version.unwrap_or(0)))
                .remedy("use the ms2m and CRIU that took it")
        } else if !self.missing.is_empty() {
            Check::fail("images", format!("missing: {}", self.missing.join(" "))).remedy("take the checkpoint again")
        } else if self.pages.in_parent > 0 && self.rounds.is_empty() {
            Check::fail("images", format!("{} pages are in a previous round that is not here", self.pages.in_parent))
                .remedy("bring the directories of the pre-dump rounds along")
        } else if self.pages.lazy > 0 {
            Check::fail("images", format!("{} pages were left at the source (lazy)", self.pages.lazy))
                .remedy("take the checkpoint without lazy pages")
        } else if self.pages.present.saturating_mul(4096) > self.sizes.pages.max(1) && self.pages.present > 0 && self.sizes.pages == 0 {
            Check::fail("images", "the pages are missing").remedy("take the checkpoint again")
        } else {
            Check::ok("images", format!("complete: {} processes, {} pages", self.processes.len(), self.pages.present))
        })
    }

    fn connections(&self) -> Option<Check> {
        let mut outer = BTreeSet::new();
        let mut inner = BTreeSet::new();
        for socket in
            self.processes.iter().flat_map(|process| &process.sockets).filter(|socket| socket.kind == "tcp" && socket.state != "listen")
        {
            if let Some(peer) = &socket.peer {
                let set = if socket.outer { &mut outer } else { &mut inner };
                set.insert(format!("{} -> {peer}", socket.local));
            }
        }
        let closed = self.inventory.as_ref().is_some_and(|inventory| inventory.tcp_close);
        let list = |set: &BTreeSet<String>| {
            let more = if set.len() > 3 { format!(" and {} more", set.len() - 3) } else { String::new() };
            format!("{}{more}", set.iter().take(3).cloned().collect::<Vec<_>>().join(", "))
        };
        Some(match (outer.is_empty(), inner.is_empty(), closed) {
            (true, true, _) => Check::ok("tcp", "no established connections"),
            (false, true, true) => Check::ok("tcp", format!("come up closed: {}", list(&outer))).remedy("restore with tcp-close; the program must reconnect"),
            (true, false, false) => Check::ok("tcp", format!("within the checkpoint: {}", list(&inner))).remedy("restore with tcp-established"),
            (_, false, true) => Check::warn("tcp", format!("come up closed, also those within the checkpoint: {}", list(&inner)))
                .remedy("restore with tcp-close; the program must reconnect to itself"),
            (false, _, false) => Check::fail("tcp", format!("established with the outside: {}", list(&outer)))
                .remedy("restore with tcp-close so that they come up closed, or with tcp-established under the same address while the source is gone"),
        })
    }

    fn files(&self) -> impl Iterator<Item = &super::model::FileView> {
        self.processes.iter().flat_map(|process| &process.files)
    }

    fn terminal(&self) -> Option<Check> {
        let tty = self.files().find(|file| file.kind == "tty");
        if let Some(tty) = tty {
            return Some(
                Check::fail("terminal", format!("descriptor {} is one", tty.fd)).remedy("run the container without a TTY (`tty: false`)"),
            );
        }
        self.terminal
            .then(|| Check::warn("terminal", "the specification asks for one").remedy("run the container without a TTY (`tty: false`)"))
    }

    fn io_uring(&self) -> Option<Check> {
        let ring = self.files().find(|file| file.what.contains("[io_uring]"))?;
        Some(
            Check::fail("io_uring", format!("descriptor {} is a ring, which CRIU does not restore", ring.fd))
                .remedy("turn io_uring off in the program"),
        )
    }

    fn devices(&self) -> Option<Check> {
        let found = self.files().find(|file| ["/dev/nvidia", "/dev/kfd", "/dev/dri/"].iter().any(|start| file.what.starts_with(start)))?;
        Some(Check::fail("devices", format!("{} is open", found.what)).remedy("GPU contexts need CRIU's plugin for that GPU on both nodes"))
    }

    fn external_mounts(&self) -> Option<Check> {
        /// What every engine makes anew for a container.
        const MADE_ANEW: [&str; 7] =
            ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/shm", "/dev/termination-log", "/run/.containerenv", "/run/secrets"];
        let bound: Vec<_> = self
            .mounts
            .iter()
            .filter(|mount| mount.kind == "bind" && !MADE_ANEW.contains(&mount.destination.as_str()))
            .filter(|mount| {
                !mount.destination.starts_with("/var/run/secrets/kubernetes.io/")
                    && !mount.destination.starts_with("/run/secrets/kubernetes.io/")
            })
            .map(|mount| mount.destination.as_str())
            .collect();
        if bound.is_empty() {
            return Some(Check::ok("mounts", "only such as every engine makes anew"));
        }
        Some(
            Check::warn("mounts", format!("must be there with the same content: {}", bound.join(" ")))
                .remedy("provide these volumes to the restored container"),
        )
    }

    fn locks(&self) -> Option<Check> {
        (self.file_locks > 0).then(|| Check::warn("file locks", format!("{} are held", self.file_locks)).remedy("restore with file-locks"))
    }

    fn security(&self) -> Option<Check> {
        let lsm = self.inventory.as_ref().map(|inventory| inventory.lsm.as_str()).filter(|lsm| *lsm != "none")?;
        Some(
            Check::warn("security module", format!("taken under {lsm}"))
                .remedy(format!("restore on a node with {lsm} and the same profile")),
        )
    }
}

/// The first two numbers of a version.
fn version(text: &str) -> [u32; 2] {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)]
}
