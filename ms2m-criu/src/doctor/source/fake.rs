//! A `/proc` that tests write themselves. Process 10 is the subject, with parent 1.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use procfs::FromRead as _;

use super::container::Container;
use super::subject::Subject;
use crate::doctor::host::fake::Fake;
use crate::runtime::Flavor;

pub(super) struct Tree {
    fake: Fake,
}

impl Tree {
    pub(super) fn new() -> Self {
        let tree = Self { fake: Fake::new() };
        tree.process(10, 1, "Name:\tsubject\n");
        std::fs::create_dir_all(tree.fake.host.path("/proc/10/fd")).expect("a directory");
        tree.mounts(10, "20 1 8:1 / / rw,relatime - ext4 /dev/root rw\n");
        tree
    }

    /// A process. `lines` take the place of the lines of `status` that begin the same.
    pub(super) fn process(&self, pid: i32, parent: i32, lines: &str) -> &Self {
        self.file(&format!("/proc/{pid}/status"), &status(pid, parent, lines))
    }

    /// A thread besides the first.
    pub(super) fn thread(&self, pid: i32, id: i32, lines: &str) -> &Self {
        self.file(&format!("/proc/{pid}/task/{id}/status"), &status(id, 1, lines))
    }

    pub(super) fn fd(&self, pid: i32, number: i32, target: &str, info: &str) -> &Self {
        self.fake.link(&format!("/proc/{pid}/fd/{number}"), target);
        self.file(&format!("/proc/{pid}/fdinfo/{number}"), info)
    }

    pub(super) fn namespace(&self, pid: i32, name: &str, inode: u64) -> &Self {
        let pid = if pid == 1 { "self".to_owned() } else { pid.to_string() };
        self.fake.link(&format!("/proc/{pid}/ns/{name}"), &format!("{name}:[{inode}]"));
        self
    }

    pub(super) fn mounts(&self, pid: i32, lines: &str) -> &Self {
        self.file(&format!("/proc/{pid}/mountinfo"), lines)
    }

    pub(super) fn maps(&self, pid: i32, lines: &str) -> &Self {
        self.file(&format!("/proc/{pid}/maps"), lines)
    }

    pub(super) fn tcp(&self, pid: i32, lines: &str) -> &Self {
        self.file(&format!("/proc/{pid}/net/tcp"), lines)
    }

    pub(super) fn unix(&self, pid: i32, lines: &str) -> &Self {
        self.file(&format!("/proc/{pid}/net/unix"), lines)
    }

    pub(super) fn file(&self, path: &str, text: &str) -> &Self {
        self.fake.file(path, text);
        self
    }

    /// Process 10 as a process.
    pub(super) fn subject(&self) -> Subject {
        Subject::read(&self.fake.host, 10, None).expect("a subject")
    }

    /// Process 10 as a container of runc, with this specification.
    pub(super) fn container(&self, spec: &str) -> Subject {
        let spec = serde_json::from_str(spec).expect("a specification");
        let container = Container { name: "one".into(), runtime: Flavor::Runc, pid: 10, spec };
        Subject::read(&self.fake.host, 10, Some(container)).expect("a subject")
    }
}

/// Our own status, so that it has every line that this kernel writes, with other values.
fn status(pid: i32, parent: i32, lines: &str) -> String {
    let own = std::fs::read_to_string("/proc/self/status").expect("our own status");
    let mut set: BTreeMap<String, String> = [
        ("Name", "subject".to_owned()),
        ("State", "S (sleeping)".to_owned()),
        ("Tgid", pid.to_string()),
        ("Pid", pid.to_string()),
        ("PPid", parent.to_string()),
        ("TracerPid", "0".to_owned()),
        ("NSpid", pid.to_string()),
        ("NSsid", pid.to_string()),
        ("Seccomp", "0".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    set.extend(lines.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_owned(), value.trim().to_owned())));
    let mut text = String::new();
    for line in own.lines() {
        match line.split_once(':').and_then(|(name, _)| Some((name, set.get(name)?))) {
            Some((name, value)) => writeln!(text, "{name}:\t{value}"),
            None => writeln!(text, "{line}"),
        }
        .expect("a string");
    }
    procfs::process::Status::from_read(text.as_bytes()).expect("a status that can be read");
    text
}
