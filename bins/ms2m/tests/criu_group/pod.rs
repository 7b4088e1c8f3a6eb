//! A pod of two containers that talk over 127.0.0.1, and one of them to the outside.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ms2m_testkit_machine::Bundle;
use oci_spec::runtime::{LinuxNamespaceBuilder, LinuxNamespaceType};
use serde_json::Value;

use crate::network::Network;

const PATIENCE: Duration = Duration::from_secs(30);

/// Squares what it is asked, and ends when its only connection does.
pub(crate) const SERVER: &str = r#"
use strict; use IO::Socket::INET;
open(my $log, '>>', '/log') or die; select((select($log), $| = 1)[0]);
my $timers = 0; $SIG{ALRM} = sub { $timers++; alarm(1) }; alarm(1);
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1:7001', Listen => 1, ReuseAddr => 1) or die;
my $client = $listener->accept or die;
my $last = 0;
while (1) {
    my ($line, $byte) = ('', '');
    while ($byte ne "\n") {
        my $read = sysread($client, $byte, 1);
        next if !defined $read && $!{EINTR};
        if (!$read) { print $log 'broken: ', defined $read ? 'end' : $!, "\n"; exit }
        $line .= $byte;
    }
    chomp $line;
    print $log "torn: $line after $last\n" if $line != $last + 1;
    $last = $line;
    print $log "$line $timers\n";
    syswrite($client, $line * $line . "\n");
}
"#;

/// Asks for squares without ever connecting again. A child of it talks to the outside, and does.
pub(crate) const CLIENT: &str = r#"
use strict; use IO::Socket::INET;
$SIG{PIPE} = 'IGNORE';
sub pause { select(undef, undef, undef, $_[0]) }
sub opened { open(my $log, '>>', $_[0]) or die; select((select($log), $| = 1)[0]); $log }
if (!fork()) {
    my ($log, $n) = (opened('/outer'), 0);
    while (1) {
        my $peer = IO::Socket::INET->new(PeerAddr => '10.99.255.1:7000');
        if (!$peer) { pause(0.05); next }
        print $log "connected\n";
        while (1) {
            $n++;
            last if !defined syswrite($peer, "$n\n");
            my $answer;
            my $read = sysread($peer, $answer, 100);
            if (!$read) { print $log 'broken at ', $n, ': ', defined $read ? 'end' : $!, "\n"; last }
            chomp $answer;
            print $log $answer == $n ? "$n\n" : "torn: $answer for $n\n";
            pause(0.01);
        }
        print $log "closed: $!\n";
    }
}
my ($log, $server) = (opened('/log'));
my @table = map { $_ * 7 } 0 .. 99_999;
pause(0.05) until $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1:7001');
for (my $n = 1; ; $n++) {
    if (!syswrite($server, "$n\n")) { print $log "broken: $!\n"; exit }
    my ($line, $byte) = ('', '');
    while ($byte ne "\n") {
        my $read = sysread($server, $byte, 1);
        if (!$read) { print $log 'broken: ', defined $read ? 'end' : $!, "\n"; exit }
        $line .= $byte;
    }
    chomp $line;
    print $log "$n $line $table[$n % 100_000]\n";
    pause(0.002);
}
"#;

/// Both containers, wherever they are now.
pub(crate) struct Pod {
    runtime: &'static str,
    /// Container and root file system: the client, the server.
    pub(crate) client: (String, PathBuf),
    pub(crate) server: (String, PathBuf),
    _bundles: Vec<Bundle>,
}

/// A runtime's container that has joined a network.
pub(crate) fn join(bundle: &mut Bundle, network: &Path) {
    let namespace = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Network).path(network).build().unwrap();
    bundle.edit(|spec| spec.linux_mut().as_mut().unwrap().namespaces_mut().get_or_insert_default().push(namespace)).unwrap();
}

pub(crate) fn start(runtime: &str, bundle: &Bundle, name: &str) {
    assert!(Bundle::command(runtime).args(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(name).status().unwrap().success());
}

impl Pod {
    pub(crate) fn start(runtime: &'static str, network: &Network) -> Self {
        let mut bundles = [("server", SERVER), ("client", CLIENT)]
            .map(|(name, program)| Bundle::new(format!("/run/bundle-{name}"), ["perl", "-e", program]).unwrap());
        for (bundle, name) in bundles.iter_mut().zip(["pod-server", "pod-client"]) {
            join(bundle, network.path());
            start(runtime, bundle, name);
        }
        let [server, client] = [&bundles[0], &bundles[1]].map(Bundle::rootfs);
        let pod = Self { runtime, client: ("pod-client".into(), client), server: ("pod-server".into(), server), _bundles: bundles.into() };
        pod.goes_on();
        pod
    }

    /// The client in a container that is there already, and a server for it.
    pub(crate) fn around(runtime: &'static str, client: (String, PathBuf), network: &Network) -> Self {
        let mut bundle = Bundle::new("/run/bundle-server", ["perl", "-e", SERVER]).unwrap();
        join(&mut bundle, network.path());
        start(runtime, &bundle, "server");
        Self { runtime, client, server: ("server".into(), bundle.rootfs()), _bundles: vec![bundle] }
    }

    /// `ms2m migrate` of both.
    pub(crate) fn command(&self, copy: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ms2m"));
        command.args(["migrate", "--local", "--runtime", self.runtime, "--copy", copy, "--work-dir", "/run/ms2m", "--output", "json"]);
        command.args(["--source", &self.client.0, "--source", &self.server.0]).args(more);
        command
    }

    /// A move that is done; its report.
    pub(crate) fn moved(&mut self, copy: &str, output: &Output) -> Value {
        assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let place = |name: &str| (format!("{copy}-{name}"), PathBuf::from(format!("/run/ms2m/containers/{copy}-{name}/rootfs")));
        (self.client, self.server) = (place("client"), place("server"));
        report
    }

    /// What the client has logged of its talk with the server, which must be whole; also the server's side of it.
    fn inner(&self) -> (u64, u64) {
        let (client, server) = (lines(&self.client.1.join("log")), lines(&self.server.1.join("log")));
        for (at, line) in client.iter().enumerate() {
            let n = at as u64 + 1;
            assert_eq!(*line, format!("{n} {} {}", n * n, n % 100_000 * 7), "of the client");
        }
        let mut timers = 0;
        for (at, line) in server.iter().enumerate() {
            let (n, timer) = line.split_once(' ').unwrap();
            assert_eq!(n, (at + 1).to_string(), "of the server: {line}");
            timers = timer.parse().unwrap_or_else(|_| panic!("the server says: {line}"));
        }
        (client.len() as u64, timers)
    }

    /// Waits until they have talked on, and the timer has gone off again. Says how long it took them to begin.
    pub(crate) fn goes_on(&self) -> Duration {
        let (begun, (asked, timers)) = (Instant::now(), self.inner());
        let mut first = None;
        loop {
            let (now, rung) = self.inner();
            if now > asked {
                first.get_or_insert_with(|| begun.elapsed());
            }
            if now > asked + 20 && rung > timers {
                return first.unwrap_or_default();
            }
            assert!(begun.elapsed() < PATIENCE, "they stand still at {asked}");
            sleep(Duration::from_millis(20));
        }
    }

    /// What the client has logged of its talk with the outside.
    pub(crate) fn outer(&self) -> Vec<String> {
        lines(&self.client.1.join("outer"))
    }

    pub(crate) fn end(self) {
        [&self.client, &self.server].into_iter().for_each(|container| self.remove(container));
        let _ = std::fs::remove_dir_all("/run/ms2m");
    }

    /// Ends one container and what it stood on.
    pub(crate) fn remove(&self, (container, rootfs): &(String, PathBuf)) {
        assert!(Bundle::command(self.runtime).args(["delete", "--force", container]).status().unwrap().success());
        for mount in [rootfs.clone(), rootfs.with_file_name("network")] {
            let _ = Command::new("umount").arg(mount).output();
        }
    }
}

/// Whole lines only.
fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// Waits until it is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        sleep(Duration::from_millis(10));
    }
}
