//! [`Gate`]: where the node's waiting runtimes meet its agent.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, MigrationId, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::wire::{Hello, LINE_BYTES_MAX, Order, Outcome};

/// Runtimes that may wait at a time.
const WAITING_MAX: usize = 256;
/// For a line that is due at once.
const WITHIN: Duration = Duration::from_secs(5);

type Key = (MigrationId, String);

/// The containers that wait for their checkpoints. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    waiting: Mutex<HashMap<Key, Waiting>>,
    /// Sees a new number whenever somebody has come.
    came: watch::Sender<u64>,
}

#[derive(Debug)]
struct Waiting {
    hello: Hello,
    order: oneshot::Sender<(Order, oneshot::Sender<Outcome>)>,
}

impl Gate {
    /// Listens on this socket, which is for root alone, until the gate is dropped by all.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(socket: &Path) -> Result<Self> {
        let cannot = |error| {
            let message = "the socket for ms2m-runtime cannot be made; run the agent as root, or name another one";
            Error::fatal(ErrorKind::Other, message).with("socket", socket.display()).caused_by(error)
        };
        if let Some(directory) = socket.parent() {
            crate::local::bundle::make_directory(directory, 0o700)?;
        }
        // Of an agent before this one: its store's lock says that there is no other.
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(cannot(error)),
            _ => {}
        }
        let listener = UnixListener::bind(socket).map_err(cannot)?;
        std::fs::set_permissions(socket, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(cannot)?;
        let gate = Self(Arc::new(Inner { waiting: Mutex::default(), came: watch::channel(0).0 }));
        tokio::spawn(accept(listener, Arc::downgrade(&gate.0)));
        Ok(gate)
    }

    /// Who waits for this migration with this name, in this pod.
    pub(super) fn waiting(&self, migration: &MigrationId, container: &str, pod_uid: &str) -> Option<Hello> {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.get(&(migration.clone(), container.to_owned())).map(|one| one.hello.clone()).filter(|hello| hello.pod_uid == pod_uid)
    }

    /// Waits until that one waits.
    pub(super) async fn awaits(&self, migration: &MigrationId, container: &str, pod_uid: &str, within: Duration) -> Result<Hello> {
        let mut came = self.0.came.subscribe();
        let seen = timeout(within, async {
            loop {
                came.mark_unchanged();
                if let Some(hello) = self.waiting(migration, container, pod_uid) {
                    return hello;
                }
                // The sender is this gate's own.
                let _ = came.changed().await;
            }
        });
        seen.await.map_err(|_| {
            let message = "the copy's container does not wait for its checkpoint: does its pod run with ms2m-runtime (its RuntimeClass)? \
                           The pod's events say how far it is";
            Error::undo(ErrorKind::Timeout, message).with("container", container).with("pod_uid", pod_uid)
        })
    }

    /// Lets one restore, and waits for what comes of it.
    pub(super) async fn order(&self, migration: &MigrationId, container: &str, order: Order, within: Duration) -> Result<Duration> {
        let gone = || {
            let message = "the copy's container does not wait any more; its pod's events say why";
            Error::undo(ErrorKind::NotFound, message).with("container", container)
        };
        let (tell, outcome) = oneshot::channel();
        self.take(migration, container).ok_or_else(gone)?.order.send((order, tell)).map_err(|_| gone())?;
        let late = |_| Error::undo(ErrorKind::Timeout, "the copy was not restored in time").with("container", container);
        match timeout(within, outcome).await.map_err(late)?.map_err(|_| gone())? {
            Outcome::Restored { restore_us } => Ok(Duration::from_micros(restore_us)),
            Outcome::Failed { message } => Err(Error::undo(ErrorKind::Other, message).with("container", container)),
        }
    }

    /// Sends away whoever waits for a migration.
    pub(super) fn refuse(&self, migration: &MigrationId, reason: &str) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<_> = waiting.keys().filter(|(of, _)| of == migration).cloned().collect();
        for name in names {
            if let Some(one) = waiting.remove(&name) {
                let _ = one.order.send((Order::Refuse { reason: reason.to_owned() }, oneshot::channel().0));
            }
        }
    }

    fn take(&self, migration: &MigrationId, container: &str) -> Option<Waiting> {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&(migration.clone(), container.to_owned()))
    }
}

async fn accept(listener: UnixListener, gate: std::sync::Weak<Inner>) {
    let mut serving = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = serving.join_next() => continue,
            () = tokio::time::sleep(WITHIN) => if gate.strong_count() == 0 { return } else { continue },
        };
        let Some(inner) = gate.upgrade() else { return };
        match accepted {
            Ok((stream, _)) => {
                let root = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0);
                if root && serving.len() < WAITING_MAX {
                    serving.spawn(serve(stream, Gate(inner)));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "ms2m-runtime cannot be heard");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, gate: Gate) {
    if let Err(error) = attend(stream, &gate).await {
        tracing::info!(%error, "a waiting container has gone");
    }
}

async fn attend(stream: UnixStream, gate: &Gate) -> std::io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from.take(2 * LINE_BYTES_MAX));
    let mut line = String::new();
    timeout(WITHIN, from.read_line(&mut line)).await??;
    let hello: Hello = serde_json::from_str(&line)?;
    tracing::info!(migration = %hello.migration, container = %hello.container, pod_uid = %hello.pod_uid, "a container waits for its checkpoint");
    let key = (hello.migration.clone(), hello.container.clone());
    let (order, mut ordered) = oneshot::channel();
    gate.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), Waiting { hello, order });
    gate.0.came.send_modify(|number| *number = number.wrapping_add(1));
    line.clear();
    let order = tokio::select! {
        order = &mut ordered => order.ok(),
        // It says nothing before it is told something: it has ended.
        _ = from.read_line(&mut line) => None,
    };
    let Some((order, tell)) = order else {
        drop(ordered);
        let mut waiting = gate.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Another one of the same name may have come since.
        if waiting.get(&key).is_some_and(|one| one.order.is_closed()) {
            waiting.remove(&key);
        }
        return Ok(());
    };
    let mut word = serde_json::to_vec(&order)?;
    word.push(b'\n');
    to.write_all(&word).await?;
    line.clear();
    from.read_line(&mut line).await?;
    let _ = tell.send(serde_json::from_str(&line)?);
    Ok(())
}
