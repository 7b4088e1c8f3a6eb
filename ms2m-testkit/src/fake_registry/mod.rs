//! [`FakeRegistry`]: an OCI registry in this process that misbehaves as it is told.
//!
//! It keeps to the distribution specification, where Docker's own registry does not: a broken upload can be asked for and goes on. It speaks
//! plain HTTP on a free port of the loopback interface and keeps everything in memory. What breaks connections is
//! [`relay`](crate::relay)'s work.

mod access;
mod faults;
mod handle;
mod store;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use access::Access;
pub use faults::{Faults, Lie, Refusal, Request};
pub use store::Census;

use store::Store;

/// A running registry. Ends when it is dropped.
#[derive(Debug)]
pub struct FakeRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    access: Access,
    host: String,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    faults: Faults,
    store: Store,
    tokens: access::Tokens,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FakeRegistry {
    /// Begins to serve.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(access: Access, faults: Faults) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let inner = Mutex::new(Inner { faults, ..Inner::default() });
        let shared = Arc::new(Shared { access, host: address.to_string(), inner });
        let router = axum::Router::new().fallback(handle::handle).with_state(Arc::clone(&shared));
        let listener = listener.tap_io(|connection| {
            // Answers are small and waited for.
            let _ = connection.set_nodelay(true);
        });
        let serving = tokio::spawn(async move {
            // Ends with the task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, shared, serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What goes wrong from now on.
    pub fn set(&self, faults: Faults) {
        self.shared.lock().faults = faults;
    }

    /// What is in it.
    #[must_use]
    pub fn census(&self) -> Census {
        self.shared.lock().store.census()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
