//! The cluster itself.

use ms2m_testkit_cluster::{Cluster, Image, Node, Options};

fn said(command: &mut std::process::Command) -> String {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn pods_run_on_both_nodes_and_reach_each_other_the_registry_and_the_broker() {
    let options = Options::default().rabbitmq().hook("echo \"hook of $1\" >/etc/hooked");
    let cluster = Cluster::start(&options).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(said(cluster.node(Node::N2, "cat").arg("/etc/hooked")), "hook of 2\n");
    assert_eq!(std::fs::read_to_string(cluster.node_path(Node::N1, "/etc/hooked")).unwrap(), "hook of 1\n");

    let shared = cluster.shared().join("file");
    std::fs::write(cluster.path(&shared), "seen\n").unwrap();
    assert_eq!(said(cluster.node(Node::N1, "cat").arg(&shared)), "seen\n");

    let program = env!("CARGO_BIN_EXE_ms2m-memory-counter");
    let image = cluster.push("counter", &Image::of(program).arguments(["1"])).unwrap();
    assert!(image.starts_with("10.77.0.1:5000/counter@sha256:"), "{image}");
    for node in [Node::N1, Node::N2] {
        cluster
            .apply(&format!(
                r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "on-{node}"}},
                    "spec": {{"nodeName": "{node}", "containers": [{{"name": "main", "image": "{image}"}}]}}}}"#
            ))
            .unwrap();
    }
    cluster.kubectl(&["wait", "--timeout=60s", "--for=condition=Ready", "pod/on-n1", "pod/on-n2"]).unwrap();
    let address = cluster.kubectl(&["get", "pod", "on-n2", "--output", "jsonpath={.status.podIP}"]).unwrap();
    assert!(address.starts_with("10.88.2."), "{address}");
    let reach = |address: &str, port: u16| format!("exec 3<>/dev/tcp/{address}/{port}");
    // Nothing listens in the pod: it answers that, instead of nobody.
    let refused = cluster.node(Node::N1, "bash").args(["-c", &reach(&address, 1)]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("refused"), "{refused:?}");
    let broker = cluster.rabbitmq().unwrap().amqp_url();
    let port = broker.trim_end_matches("/%2f").rsplit_once(':').unwrap().1.parse().unwrap();
    said(cluster.node(Node::N1, "bash").args(["-c", &reach("10.77.0.1", port)]));
    cluster.within(|| std::net::TcpStream::connect(("10.77.0.1", 5000)).unwrap()).unwrap();
}

#[test]
fn kubectl_says_what_is_wrong_and_the_host_sees_nothing_of_the_cluster() {
    let cluster = Cluster::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(cluster.kubectl(&["get", "nodes", "--output", "name"]).unwrap(), "node/n1\nnode/n2\n");
    let error = cluster.kubectl(&["get", "nonesuch"]).unwrap_err().to_string();
    assert!(error.contains("nonesuch") && error.contains("ended with"), "{error}");
    let error = cluster.apply("{}").unwrap_err().to_string();
    assert!(error.contains("kubectl apply"), "{error}");
    assert!(cluster.path("/run/netns/control").exists() && !std::path::Path::new("/run/netns/control").exists());
    assert!(cluster.kubeconfig().exists() && cluster.path(cluster.authority()).exists());
}
