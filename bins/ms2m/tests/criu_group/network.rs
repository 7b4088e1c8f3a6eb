//! Network namespaces of a test, and an outer world to which they lead.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A network namespace, held by a file. Removed when dropped.
pub(crate) struct Network(PathBuf);

impl Network {
    /// With the loopback interface up.
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new("/run").join(name);
        File::create(&path).unwrap();
        let mut net = std::ffi::OsString::from("--net=");
        net.push(&path);
        assert!(Command::new("unshare").arg(net).args(["ip", "link", "set", "lo", "up"]).status().unwrap().success());
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A command in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        enter(&self.0, program)
    }

    fn ip(&self, words: &str) {
        assert!(self.command("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A command in the network namespace of this file.
pub(crate) fn enter(network: &Path, program: &str) -> Command {
    let mut net = std::ffi::OsString::from("--net=");
    net.push(network);
    let mut command = Command::new("nsenter");
    command.arg(net).args(["--", program]).stdin(Stdio::null());
    command
}

/// Whether the loopback interface of a namespace is as it was.
pub(crate) fn is_unlocked(network: &Path) -> bool {
    let shown = enter(network, "tc").args(["qdisc", "show", "dev", "lo"]).output().unwrap();
    String::from_utf8_lossy(&shown.stdout).contains("noqueue")
}

/// A host outside of the pod, with one peer that talks to it.
pub(crate) struct Outside {
    network: Network,
    peer: Child,
    links: u32,
}

/// Its address.
pub(crate) const OUTSIDE: &str = "10.99.255.1";

/// Answers each number with itself; says of each connection from where it came, when it was torn, and how it ended.
const PEER: &str = r#"
use strict; use IO::Socket::INET;
$SIG{CHLD} = 'IGNORE';
open(my $log, '>>', '/run/peer.log') or die; select((select($log), $| = 1)[0]);
my $listener = IO::Socket::INET->new(LocalAddr => '10.99.255.1:7000', Listen => 8, ReuseAddr => 1) or die;
while (my $one = $listener->accept) {
    my $from = $one->peerhost;
    print $log "$from begun\n";
    if (!fork()) {
        my $last = 0;
        while (defined(my $line = <$one>)) {
            chomp $line;
            print $log "$from torn $last $line\n" if $last && $line != $last + 1;
            $last = $line;
            syswrite($one, "$line\n");
        }
        print $log "$from ended $last\n"; exit;
    }
    close $one;
}
"#;

impl Outside {
    pub(crate) fn new() -> Self {
        let network = Network::new("outside.net");
        network.ip(&format!("address add {OUTSIDE}/32 dev lo"));
        let peer = network.command("perl").args(["-e", PEER]).spawn().unwrap();
        Self { network, peer, links: 0 }
    }

    /// A way from a namespace to here and back.
    pub(crate) fn link(&mut self, network: &Network) {
        self.links += 1;
        let link = self.links;
        let here = format!("link{link}");
        self.network.ip(&format!("link add {here} type veth peer name eth0 netns {}", network.path().display()));
        self.network.ip(&format!("address add 10.99.{link}.1/24 dev {here}"));
        self.network.ip(&format!("link set {here} up"));
        network.ip(&format!("address add 10.99.{link}.2/24 dev eth0"));
        network.ip("link set eth0 up");
        network.ip(&format!("route add default via 10.99.{link}.1"));
    }

    /// What the peer has to say of who came over one of the links, counted from 1.
    pub(crate) fn log(&self, link: u32) -> Vec<String> {
        let (from, text) = (format!("10.99.{link}.2 "), std::fs::read_to_string("/run/peer.log").unwrap_or_default());
        text.lines().filter_map(|line| line.strip_prefix(&from)).map(str::to_owned).collect()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.peer.kill();
        let _ = self.peer.wait();
        let _ = std::fs::remove_file("/run/peer.log");
    }
}
