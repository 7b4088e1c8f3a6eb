//! Starts a cluster, says how to look into it, and ends it when its input ends.

use std::io::{Read as _, stdin};
use std::process::ExitCode;
use std::time::Instant;

use ms2m_testkit_cluster::{Cluster, Node, Options};

fn main() -> ExitCode {
    let begun = Instant::now();
    let cluster = match Cluster::start(&Options::default().rabbitmq()) {
        Ok(cluster) => cluster,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    println!("up in {:.1} s; Ctrl-D ends it", begun.elapsed().as_secs_f64());
    let root = cluster.path("/");
    let pid = root.iter().nth(2).unwrap_or_default().display();
    println!("kubectl:  nsenter -t {pid} -m -p -r --net={} kubectl get nodes", cluster.path("/run/netns/control").display());
    for node in [Node::N1, Node::N2] {
        println!("{node}:       files at {}", cluster.node_path(node, "/").display());
    }
    println!("RabbitMQ: {}", cluster.rabbitmq().map(|server| server.amqp_url()).unwrap_or_default());
    // Whatever comes, its end is waited for.
    let _ = stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}
