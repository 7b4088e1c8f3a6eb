//! [`Relay`]: a wire between a client and a server that breaks as it is told.
//!
//! A client that is given the relay's address talks to the server through it. [`Faults`] say what goes wrong and when, counted in bytes, so
//! that a test can break a connection at a byte of its choice; what is random is drawn from a seed. This is the one module of the kit that
//! uses real sockets and real time.

mod connection;
mod faults;
mod meter;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use faults::{Cut, CutEnd, Direction, Faults, Often};
pub use meter::Passed;

use connection::Wire;
use meter::Meter;

/// Listens on a free port of the loopback interface and passes what comes to a server. Ends with its last connection when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    wire: watch::Sender<Wire>,
    meter: Arc<Meter>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Begins to listen. The server is connected to anew for each client, and need not be there yet.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(server: SocketAddr, faults: Faults) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let wire = watch::Sender::new(Wire { stopped: false, cuts: 0 });
        let meter = Arc::new(Meter::new(faults));
        let accepting = tokio::spawn(accept(listener, server, wire.clone(), Arc::clone(&meter)));
        Ok(Self { address, wire, meter, accepting })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What goes wrong from now on, on open connections too. Distances are counted anew.
    pub fn set(&self, faults: Faults) {
        self.meter.set(faults);
    }

    /// Resets all open connections.
    pub fn cut(&self) {
        self.wire.send_modify(|wire| wire.cuts += 1);
    }

    /// Nothing gets through any more, and no connection ends: as when a machine is frozen or a cable is out.
    pub fn stop(&self) {
        self.wire.send_modify(|wire| wire.stopped = true);
    }

    /// Ends [`stop`](Self::stop), and a stall of the [`Faults`].
    pub fn go_on(&self) {
        self.meter.end_stall();
        self.wire.send_modify(|wire| wire.stopped = false);
    }

    /// What has passed so far.
    #[must_use]
    pub fn passed(&self) -> Passed {
        self.meter.passed()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, wire: watch::Sender<Wire>, meter: Arc<Meter>) {
    while let Ok((client, _)) = listener.accept().await {
        meter.connected();
        let (wire, meter) = (wire.subscribe(), Arc::clone(&meter));
        tokio::spawn(async move {
            match TcpStream::connect(server).await {
                Ok(upstream) => connection::pass(client, upstream, wire, &meter).await,
                // As a server that refuses.
                Err(_) => connection::reset(&client),
            }
        });
    }
}
