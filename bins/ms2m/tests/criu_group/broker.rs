//! A consumer with a companion: the queue changes hands, and the connection to the companion goes along.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::network::{Network, is_unlocked};
use crate::pod::{CLIENT, Pod, until};
use crate::stage::{Setting, Stage};

const SOCKET: &str = "/run/amqp.sock";

/// Processes that end with this.
struct Relays(Vec<Child>);

impl Relays {
    /// Makes the broker reachable at its own address in each of the networks.
    fn new(url: &str, networks: &[Network]) -> Self {
        let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next()).unwrap();
        let socat = |mut command: Command, from: &str, to: &str| {
            command.args([&format!("{from},fork"), to]).stdin(Stdio::null()).process_group(0).spawn().unwrap()
        };
        let mut relays = vec![socat(Command::new("socat"), &format!("UNIX-LISTEN:{SOCKET}"), &format!("TCP:127.0.0.1:{port}"))];
        until("the relay listens", || std::path::Path::new(SOCKET).exists());
        for network in networks {
            let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr");
            relays.push(socat(network.command("socat"), &listen, &format!("UNIX-CONNECT:{SOCKET}")));
        }
        Self(relays)
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        for relay in &mut self.0 {
            // Its connections are processes of its group.
            let group = i32::try_from(relay.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            let _ = relay.wait();
        }
        let _ = std::fs::remove_file(SOCKET);
    }
}

pub(crate) async fn moves(setting: Setting, migrations: usize) {
    let networks: Vec<_> = (0..=migrations).map(|number| Network::new(&format!("broker-{number}.net"))).collect();
    let relays = Relays::new(&setting.url, &networks);
    let runtime = setting.runtime;
    let client: &str = format!("cat >/client.pl <<'END'\n{CLIENT}END\nperl /client.pl").leak();
    let setting = Setting { beside: Some(client), network: Some(networks[0].path().to_owned()), ..setting };
    let mut stage = Stage::begin(setting).await;
    let name = stage.container.clone();
    let mut pod = Pod::around(runtime, (name.clone(), PathBuf::from(format!("/run/bundle-{name}/rootfs"))), &networks[0]);
    pod.goes_on();
    for (number, network) in (1..).zip(&networks[1..]) {
        let copy = stage.copy(number);
        let report = stage.migrate(number, &["--source", &pod.server.0, "--network", network.path().to_str().unwrap()]).await;
        assert_eq!(report["outcome"], "completed", "{report:#}");
        let ledger = &report["ledger"];
        assert!(ledger["digest_source"].is_string() && ledger["digest_source"] == ledger["digest_target"], "{report:#}");
        let durations = &report["durations_ms"];
        println!(
            "{runtime}, with a broker: freeze {}, restore {}, nobody served for {}, total {} ms",
            durations["freeze"], durations["restore"], durations["cutover_gap"], durations["total"]
        );
        let place = |name: &str| (format!("{copy}-{name}"), PathBuf::from(format!("/run/ms2m/containers/{copy}-{name}/rootfs")));
        (pod.client, pod.server) = (place(&name), place("server"));
        stage.container.clone_from(&pod.client.0);
        pod.goes_on();
        assert!(is_unlocked(network.path()));
    }
    pod.remove(&pod.server);
    stage.end().await;
    drop(relays);
}
