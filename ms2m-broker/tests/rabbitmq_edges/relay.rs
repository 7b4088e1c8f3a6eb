//! A wire that can be cut or stopped, between a client and the broker.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::server;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wire {
    Whole,
    Stopped,
    Cut,
}

/// Relays one connection at a time to the shared server.
pub(crate) struct Relay {
    port: u16,
    wire: watch::Sender<Wire>,
}

impl Relay {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("its port").port();
        let wire = watch::Sender::new(Wire::Whole);
        let state = wire.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(authority(&server().amqp_url())).await.expect("the server");
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), upstream.into_split());
                tokio::spawn(pump(from_client, to_server, state.clone()));
                tokio::spawn(pump(from_server, to_client, state.clone()));
            }
        });
        Self { port, wire }
    }

    pub(crate) fn amqp_url(&self, query: &str) -> String {
        format!("{}{query}", server().amqp_url().replace(&authority(&server().amqp_url()), &format!("127.0.0.1:{}", self.port)))
    }

    /// Ends the connection without a word of AMQP.
    pub(crate) fn cut(&self) {
        self.wire.send_replace(Wire::Cut);
    }

    /// As when the client is frozen: the connection stays, nothing gets through.
    pub(crate) fn stop(&self) {
        self.wire.send_replace(Wire::Stopped);
    }
}

/// `host:port` of an AMQP URL.
fn authority(url: &str) -> String {
    url.split(['@', '/']).nth(3).expect("user and host").to_owned()
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut wire: watch::Receiver<Wire>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = wire.wait_for(|wire| *wire == Wire::Cut) => return,
        };
        // Until it is whole again, or cut.
        if wire.wait_for(|wire| *wire != Wire::Stopped).await.is_err() {
            return;
        }
        match read {
            Ok(count) if count > 0 && to.write_all(&buffer[..count]).await.is_ok() => {}
            _ => return,
        }
    }
}
