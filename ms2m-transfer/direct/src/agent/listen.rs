//! Connections: accepted, authenticated, counted, served.

use std::sync::Arc;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use ms2m_core::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::{Service as _, ServiceExt as _};

use super::Agent;
use super::answer::Refused;
use super::counters::{Gauge, add};
use crate::buffered::Buffered;
use crate::credentials::{Credentials, Reloading};
use crate::identity::Peer;
use crate::tls_error;
use crate::wire::TLS_BUFFER_BYTES;

/// Connections beyond the limit that are told so.
const REFUSED_MAX: usize = 32;
/// What a client that was refused may still send.
const UNREAD_BYTES_MAX: u64 = 64 << 10;
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// When no connection can be accepted: there are no file descriptors left, which others must give back.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A client that is refused has sent its request already. To close with it unread would take back the alert that says why.
async fn hear_out(mut stream: Buffered) {
    let _ = stream.shutdown().await;
    let mut unread = stream.take(UNREAD_BYTES_MAX);
    let _ = timeout(HEARD_WITHIN, tokio::io::copy(&mut unread, &mut tokio::io::sink())).await;
}

impl Agent {
    /// Serves on this listener until `told` ends, and then until [`Agent::end`] has. Each client must show a certificate that the authority
    /// of the credentials has signed.
    ///
    /// # Errors
    /// When the credentials cannot be used at the start.
    pub async fn serve(&self, listener: TcpListener, credentials: Credentials, told: impl Future<Output = ()> + Send) -> Result<()> {
        self.serve_routes(listener, credentials, self.router(), told).await
    }

    /// The same with these routes, for who has merged its own into [the agent's](Agent::router). Each request carries its
    /// [`Peer`] among its extensions; a [`Caller`](crate::Caller) asks them.
    ///
    /// # Errors
    /// When the credentials cannot be used at the start.
    pub async fn serve_routes(
        &self,
        listener: TcpListener,
        credentials: Credentials,
        routes: Router,
        told: impl Future<Output = ()> + Send,
    ) -> Result<()> {
        let tls = Reloading::server(credentials);
        tls.current()?;
        let open = Arc::new(Semaphore::new(self.0.limits.connections_max));
        let refused = Arc::new(Semaphore::new(REFUSED_MAX));
        let mut connections = JoinSet::new();
        tokio::pin!(told);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut told => break,
                Some(_) = connections.join_next() => continue,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted; raise the limit of open files");
                    sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            add(&self.0.counters.connections, 1);
            let (permit, crowded) = match Arc::clone(&open).try_acquire_owned() {
                Ok(permit) => (permit, false),
                Err(_) => {
                    add(&self.0.counters.connections_refused, 1);
                    // Beyond these, closed unheard.
                    let Ok(permit) = Arc::clone(&refused).try_acquire_owned() else { continue };
                    (permit, true)
                }
            };
            match tls.current() {
                Ok(config) => {
                    let acceptor = TlsAcceptor::from(config);
                    connections.spawn(self.clone().connection(stream, acceptor, routes.clone(), permit, crowded));
                }
                Err(error) => tracing::warn!(%error, "a connection is refused"),
            }
        }
        drop(listener);
        self.end().await;
        // Each has heard that the agent ends, and closes behind the answer that it is at.
        let closed = timeout(self.0.limits.drain_within, async { while connections.join_next().await.is_some() {} });
        let _ = closed.await;
        Ok(())
    }

    async fn connection(self, stream: TcpStream, acceptor: TlsAcceptor, router: Router, _permit: OwnedSemaphorePermit, crowded: bool) {
        let limits = self.0.limits;
        let _open = Gauge::new(self.clone(), |agent| &agent.0.counters.connections_open);
        let buffered = Buffered::new(stream, limits.piece_within);
        let mut stream = match timeout(limits.head_within, acceptor.accept(buffered).into_fallible()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err((error, stream))) => {
                add(&self.0.counters.handshakes_failed, 1);
                let error = tls_error::connection(error);
                tracing::info!(%error, "a client was not let in");
                hear_out(stream).await;
                return;
            }
            Err(_) => {
                add(&self.0.counters.handshakes_failed, 1);
                return;
            }
        };
        stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_BYTES));
        let peer = match Peer::of(stream.get_ref().1.peer_certificates()) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::info!(%error, "a client was not let in");
                return;
            }
        };
        let agent = self.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            let (mut router, peer, agent) = (router.clone(), peer.clone(), agent.clone());
            async move {
                if crowded {
                    return Ok(axum::response::IntoResponse::into_response(Refused::crowded()));
                }
                request.extensions_mut().insert(peer);
                let response = router.as_service().ready().await?.call(request).await;
                if let Ok(response) = &response
                    && (response.status().is_client_error() || response.status().is_server_error())
                {
                    add(&agent.0.counters.requests_refused, 1);
                }
                response
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_within)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.0.ending.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    served = connection => served,
                    () = self.0.ended.cancelled() => return,
                }
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection has broken off");
        }
    }
}
