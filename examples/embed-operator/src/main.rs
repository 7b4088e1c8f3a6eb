//! An operator of one's own, embedding `ms2m-k8s`: it moves pods with the agents of the nodes, and has a policy of its own.
//!
//! The library watches the resources, makes and promotes the copies' pods and keeps the engine's state. What is left to an operator is in
//! `drivers.rs`: which four drivers a migration gets. Here whoever asks must name the target node, and all queues are quorum queues of one
//! broker whose URL the operator knows, so that it needs no right to any Secret.
//!
//! ```sh
//! kubectl apply -k deploy                     # the resource and its roles
//! BROKER=amqp://guest:guest@rabbitmq:5672 embed-operator /etc/ms2m/tls    # tls.crt names ms2m-controller, as the agents expect it
//! ```

mod drivers;

use std::env;
use std::error::Error;
use std::sync::Arc;

use ms2m_k8s::Operator;
use ms2m_transfer_direct::Credentials;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // An installed provider is the only error, and then one is there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let credentials = Credentials::from_directory(env::args().nth(1).ok_or("say where the certificate is: embed-operator DIRECTORY")?);
    let broker = env::var("BROKER").map_err(|_| "say where the broker is: $BROKER")?;
    let client = kube::Client::try_default().await?;
    let mine = drivers::Mine::new(client.clone(), credentials, broker);
    Operator::new(client, Arc::new(mine)).run(async { drop(tokio::signal::ctrl_c().await) }).await;
    Ok(())
}
