//! [`Again`]: who is to be looked at again, and when.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::Stream;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;

use super::running::Busy;
use super::seen::Seen;

/// Those who wait for others. None is in here twice, and each is a resource of the cluster.
#[derive(Debug)]
pub(super) struct Again {
    now: mpsc::UnboundedSender<ObjectRef<Seen>>,
    waiting: Mutex<Vec<Waits>>,
}

#[derive(Debug)]
struct Waits {
    who: ObjectRef<Seen>,
    /// Queue or source; `None`: for a place.
    key: Option<String>,
}

impl Again {
    /// With the stream of those who are to be looked at.
    pub(super) fn new() -> (Self, impl Stream<Item = ObjectRef<Seen>> + Send + 'static) {
        let (now, next) = mpsc::unbounded_channel();
        let next = futures_util::stream::unfold(next, |mut next| async move { Some((next.recv().await?, next)) });
        (Self { now, waiting: Mutex::default() }, next)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waits>> {
        // No call panics half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It waits, since before others that come later.
    pub(super) fn wait(&self, who: ObjectRef<Seen>, busy: &Busy) {
        let key = match busy {
            Busy::Key { key, .. } => Some(key.clone()),
            Busy::Full => None,
        };
        let mut waiting = self.waiting();
        match waiting.iter_mut().find(|waits| waits.who == who) {
            Some(waits) => waits.key = key,
            None => waiting.push(Waits { who, key }),
        }
    }

    /// At once.
    pub(super) fn look(&self, who: ObjectRef<Seen>) {
        // Nobody listens any more when the operator has been told to end.
        let _ = self.now.send(who);
    }

    /// One has ended that had these keys, and its place is free: only those look again whom that concerns, not everybody at everything.
    pub(super) fn ended(&self, keys: &[String]) {
        let mut places = 1;
        let concerned: Vec<_> = self
            .waiting()
            .extract_if(.., |waits| match &waits.key {
                Some(key) => keys.contains(key),
                None => std::mem::take(&mut places) > 0,
            })
            .collect();
        concerned.into_iter().for_each(|waits| self.look(waits.who));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    #[test]
    fn only_those_look_again_whom_an_end_concerns() {
        let (again, next) = Again::new();
        let mut next = std::pin::pin!(next);
        let mut looked = || {
            let mut names = Vec::new();
            while let Some(Some(who)) = next.next().now_or_never() {
                names.push(who.name);
            }
            names
        };
        let who = |name: &str| ObjectRef::<Seen>::new(name).within("default");
        let key = |key: &str| Busy::Key { name: "other".into(), key: key.into() };
        again.wait(who("a"), &key("queue a"));
        again.wait(who("b"), &Busy::Full);
        again.wait(who("c"), &Busy::Full);
        again.wait(who("b"), &Busy::Full);
        again.wait(who("d"), &key("queue d"));
        again.ended(&["queue a".into(), "pod a".into()]);
        assert_eq!(looked(), ["a", "b"]);
        again.ended(&["queue x".into()]);
        assert_eq!(looked(), ["c"]);
        again.ended(&["queue x".into()]);
        assert!(looked().is_empty());
        again.look(who("e"));
        assert_eq!(looked(), ["e"]);
    }
}
