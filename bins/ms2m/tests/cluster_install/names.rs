//! The names of services, as a cluster has them: one server that knows one name.

use std::net::{Ipv4Addr, UdpSocket};

use ms2m_testkit_cluster::Cluster;

/// Where the broker is for everybody in the cluster.
pub(crate) const BROKER: &str = "rabbitmq.brokers.svc";
const CONTROL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// For the hook of nodes: their pods ask the server.
pub(crate) const HOOK: &str = "printf 'clusterDNS: [10.77.0.1]\\nclusterDomain: cluster.local\\n' >>/etc/kubelet.yaml\n";

/// Answers until this process ends.
pub(crate) fn serve(cluster: &Cluster) {
    let socket = cluster.within(|| UdpSocket::bind((CONTROL, 53)).unwrap()).unwrap();
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((bytes, from)) = socket.recv_from(&mut question) {
            if let Some(answer) = answer(&question[..bytes]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
}

/// A name's IPv4 address when it is the one, no address of another kind, and no other name.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).into_owned());
        at += length;
    }
    let kind = question.get(at + 1)?;
    let known = labels.join(".") == BROKER;
    let address = known && *kind == 1;
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(address), 0, 0, 0, 0]);
    answer.extend(question.get(12..at + 4)?);
    if address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend(CONTROL.octets());
    }
    Some(answer)
}
