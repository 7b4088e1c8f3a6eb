//! [`Gate`]: where the node's waiting runtimes meet its agent.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, MigrationId, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::wire::{Hello, LINE_BYTES_MAX, Order, Outcome};

/// Runtimes that may wait at a time.
const WAITING_MAX: usize = 256;
/// Migrations of which it is remembered that they are over.
const OVER_MAX: usize = 1024;
/// For a line that is due at once.
const WITHIN: Duration = Duration::from_secs(5);

type Key = (MigrationId, String);
/// The directory for the images, and what the standard streams are at the source.
pub(super) type Launch = (PathBuf, Vec<String>);

/// The containers that wait for their checkpoints. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    waiting: Mutex<HashMap<Key, Waiting>>,
    /// Whoever comes for these is sent away at once: a kubelet tries again what has failed.
    over: Mutex<VecDeque<Over>>,
    /// Sees a new number whenever somebody has come.
    came: watch::Sender<u64>,
}

#[derive(Debug)]
struct Over {
    migration: MigrationId,
    pod_uid: String,
    /// All of them, unless one is named.
    container: Option<String>,
    reason: String,
}

#[derive(Debug)]
struct Waiting {
    hello: Hello,
    launch: Option<oneshot::Sender<Launch>>,
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
        let gate = Self(Arc::new(Inner { waiting: Mutex::default(), over: Mutex::default(), came: watch::channel(0).0 }));
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

    /// Has one that waits go as far as that is possible without a checkpoint. To be said of migrations that are under way: whoever is told holds cgroups and processes
    /// from then on.
    pub(super) fn launch(&self, migration: &MigrationId, container: &str, what: Launch) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(launch) = waiting.get_mut(&(migration.clone(), container.to_owned())).and_then(|one| one.launch.take()) {
            // Whoever is of an earlier release does not know it, or has gone.
            let _ = launch.send(what);
        }
    }

    /// Lets one restore, and waits for what comes of it.
    pub(super) async fn order(&self, migration: &MigrationId, container: &str, order: Order, within: Duration) -> Result<Duration> {
        let gone = || {
            let message = "the copy's container does not wait any more; its pod's events say why";
            Error::undo(ErrorKind::NotFound, message).with("container", container)
        };
        let (tell, outcome) = oneshot::channel();
        let waiting = self.take(migration, container).ok_or_else(gone)?;
        self.end(migration, &waiting.hello.pod_uid, Some(container), "it has been restored once, and is not restored a second time");
        waiting.order.send((order, tell)).map_err(|_| gone())?;
        let late = |_| Error::undo(ErrorKind::Timeout, "the copy was not restored in time").with("container", container);
        match timeout(within, outcome).await.map_err(late)?.map_err(|_| gone())? {
            Outcome::Restored { restore_us } => Ok(Duration::from_micros(restore_us)),
            Outcome::Failed { message } => Err(Error::undo(ErrorKind::Other, message).with("container", container)),
        }
    }

    /// Sends away whoever waits for a migration in this pod, and whoever will.
    pub(super) fn refuse(&self, migration: &MigrationId, pod_uid: &str, reason: &str) {
        self.end(migration, pod_uid, None, reason);
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let of_the_pod = |(key, one): (&Key, &Waiting)| (key.0 == *migration && one.hello.pod_uid == pod_uid).then(|| key.clone());
        let names: Vec<_> = waiting.iter().filter_map(of_the_pod).collect();
        for name in names {
            if let Some(one) = waiting.remove(&name) {
                let _ = one.order.send((Order::Refuse { reason: reason.to_owned() }, oneshot::channel().0));
            }
        }
    }

    fn end(&self, migration: &MigrationId, pod_uid: &str, container: Option<&str>, reason: &str) {
        let mut over = self.0.over.lock().unwrap_or_else(PoisonError::into_inner);
        if over.len() >= OVER_MAX {
            over.pop_front();
        }
        let (migration, pod_uid, container) = (migration.clone(), pod_uid.to_owned(), container.map(str::to_owned));
        over.push_back(Over { migration, pod_uid, container, reason: reason.to_owned() });
    }

    /// Why nobody needs to wait for this any more.
    fn is_over(&self, hello: &Hello) -> Option<String> {
        let over = self.0.over.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |over: &&Over| over.container.as_ref().is_none_or(|container| *container == hello.container);
        let of = |over: &&Over| over.migration == hello.migration && over.pod_uid == hello.pod_uid;
        over.iter().rev().find(|over| of(over) && named(over)).map(|over| over.reason.clone())
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
                // Root, as a rule: who else could be its like?
                let own = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == rustix::process::geteuid().as_raw());
                if own && serving.len() < WAITING_MAX {
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
    if let Some(reason) = gate.is_over(&hello) {
        return say(&mut to, &Order::Refuse { reason }).await;
    }
    tracing::info!(migration = %hello.migration, container = %hello.container, pod_uid = %hello.pod_uid, "a container waits for its checkpoint");
    let key = (hello.migration.clone(), hello.container.clone());
    let (order, mut ordered) = oneshot::channel();
    let (launch, mut launched) = oneshot::channel();
    let launch = hello.launches.then_some(launch);
    gate.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), Waiting { hello, launch, order });
    gate.0.came.send_modify(|number| *number = number.wrapping_add(1));
    line.clear();
    let order = loop {
        tokio::select! {
            biased;
            Ok((images, descriptors)) = &mut launched, if !launched.is_terminated() => {
                if say(&mut to, &Order::Launch { images, descriptors }).await.is_err() {
                    break None;
                }
            }
            order = &mut ordered => break order.ok(),
            // It says nothing before it is told something: it has ended.
            _ = from.read_line(&mut line) => break None,
        }
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
    say(&mut to, &order).await?;
    line.clear();
    from.read_line(&mut line).await?;
    let _ = tell.send(serde_json::from_str(&line)?);
    Ok(())
}

async fn say(to: &mut OwnedWriteHalf, order: &Order) -> std::io::Result<()> {
    let mut word = serde_json::to_vec(order)?;
    word.push(b'\n');
    to.write_all(&word).await
}

#[cfg(test)]
mod tests {
    use std::thread::JoinHandle;

    use super::*;
    use crate::archive::ContainerManifest;
    use crate::pod::wait;

    fn hello(container: &str) -> Hello {
        Hello {
            migration: migration(),
            container: container.into(),
            id: format!("id-{container}"),
            pod_uid: "uid".into(),
            cgroup: "c".into(),
            marker: PathBuf::from("/mark"),
            network: None,
            launches: true,
        }
    }

    fn migration() -> MigrationId {
        MigrationId::new("m-1").unwrap()
    }

    fn images_and_descriptors() -> Launch {
        ("/images".into(), vec!["/dev/null".into()])
    }

    /// A runtime that waits; what it was told.
    fn runtime(socket: &Path, container: &str) -> JoinHandle<Result<()>> {
        runtime_that_launches(socket, hello(container), || unreachable!("nobody has said so"))
    }

    fn runtime_that_launches(socket: &Path, hello: Hello, mut launch: impl FnMut() + Send + 'static) -> JoinHandle<Result<()>> {
        let socket = socket.to_owned();
        std::thread::spawn(move || {
            wait(&socket, &hello, |order| match order {
                Order::Launch { images, descriptors } => {
                    assert_eq!((images, descriptors), images_and_descriptors());
                    launch();
                    Err(Error::undo(ErrorKind::Other, "what hinders it now hinders the restore, too"))
                }
                Order::Restore { directory, .. } if directory.ends_with("good") => Ok(Duration::from_micros(7)),
                Order::Restore { .. } => Err(Error::undo(ErrorKind::Other, "CRIU says no")),
                Order::Refuse { reason } => Err(Error::fatal(ErrorKind::Cancelled, reason)),
            })
        })
    }

    fn restore(directory: &str) -> Order {
        Order::Restore { directory: directory.into(), manifest: Box::new(ContainerManifest::default()), connected: false }
    }

    async fn order(gate: &Gate, container: &str, directory: &str) -> Result<Duration> {
        gate.awaits(&migration(), container, "uid", WITHIN).await.unwrap();
        gate.order(&migration(), container, restore(directory), WITHIN).await
    }

    async fn told(runtime: JoinHandle<Result<()>>) -> Result<()> {
        tokio::task::spawn_blocking(move || runtime.join().unwrap()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_runtime_waits_is_told_and_tells() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("run/runtime.sock");
        // Its agent comes later.
        let (good, bad) = (runtime(&socket, "good"), runtime(&socket, "bad"));
        let gate = Gate::open(&socket).unwrap();
        assert_eq!(order(&gate, "good", "/x/good").await.unwrap(), Duration::from_micros(7));
        told(good).await.unwrap();
        let error = order(&gate, "bad", "/x/bad").await.unwrap_err();
        assert!(error.to_string().contains("CRIU says no"), "{error}");
        told(bad).await.unwrap_err();
        let error = told(runtime(&socket, "good")).await.unwrap_err();
        assert!(error.to_string().contains("not restored a second time"), "{error}");
        assert!(gate.waiting(&migration(), "good", "uid").is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_is_told_to_launch_goes_on_waiting_and_who_does_not_know_that_is_not_told() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("runtime.sock");
        let gate = Gate::open(&socket).unwrap();
        let (launched, launches) = std::sync::mpsc::channel();
        let new = runtime_that_launches(&socket, hello("new"), move || launched.send(()).unwrap());
        let old = runtime_that_launches(&socket, Hello { launches: false, ..hello("old") }, || unreachable!("it does not know that"));
        for (container, runtime) in [("new", new), ("old", old)] {
            gate.awaits(&migration(), container, "uid", WITHIN).await.unwrap();
            for _ in 0..2 {
                gate.launch(&migration(), container, images_and_descriptors());
            }
            order(&gate, container, "/x/good").await.unwrap();
            told(runtime).await.unwrap();
        }
        assert_eq!(launches.iter().count(), 1);
        gate.launch(&migration(), "nobody", images_and_descriptors());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_for_what_is_over_is_sent_away_also_later() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("runtime.sock");
        let gate = Gate::open(&socket).unwrap();
        let waits = runtime(&socket, "main");
        gate.awaits(&migration(), "main", "uid", WITHIN).await.unwrap();
        assert!(gate.waiting(&migration(), "main", "another pod").is_none());
        gate.refuse(&migration(), "another pod", "that was another one");
        assert!(gate.waiting(&migration(), "main", "uid").is_some());
        gate.refuse(&migration(), "uid", "it was rolled back");
        for runtime in [waits, runtime(&socket, "main"), runtime(&socket, "other")] {
            let error = told(runtime).await.unwrap_err();
            assert!(error.to_string().contains("it was rolled back"), "{error}");
        }
        let late = gate.awaits(&migration(), "main", "uid", Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Timeout);
    }
}
