//! The migrations under way in this process.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ms2m_core::Cancel;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

/// Who works on what.
#[derive(Debug)]
pub(super) struct Running {
    migrations_max: usize,
    ended: broadcast::Sender<()>,
    all: Mutex<HashMap<String, One>>,
}

#[derive(Debug)]
struct One {
    name: String,
    keys: Vec<String>,
    cancel: Cancel,
    task: Option<AbortHandle>,
}

/// Why a migration must wait.
#[derive(Debug)]
pub(super) enum Busy {
    /// This one works on the same queue or source.
    Key { name: String, key: String },
    /// There are as many as allowed.
    Full,
}

impl Running {
    pub(super) fn new(migrations_max: usize, ended: broadcast::Sender<()>) -> Self {
        Self { migrations_max, ended, all: Mutex::default() }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, One>> {
        // No call panics half-way through a change, so a poisoned map is whole.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it runs; then `reason`, if given, cancels it.
    pub(super) fn runs(&self, uid: &str, reason: Option<&str>) -> bool {
        let all = self.all();
        let one = all.get(uid);
        if let (Some(one), Some(reason)) = (one, reason) {
            one.cancel.cancel(reason);
        }
        one.is_some()
    }

    /// Takes the keys for it, unless somebody has one of them.
    pub(super) fn reserve(&self, uid: &str, name: &str, keys: Vec<String>) -> Result<Cancel, Busy> {
        let mut all = self.all();
        let taken = all.values().find_map(|one| Some((one, one.keys.iter().find(|key| keys.contains(key))?)));
        if let Some((one, key)) = taken {
            return Err(Busy::Key { name: one.name.clone(), key: key.clone() });
        }
        if all.len() >= self.migrations_max {
            return Err(Busy::Full);
        }
        let cancel = Cancel::new();
        all.insert(uid.to_owned(), One { name: name.to_owned(), keys, cancel: cancel.clone(), task: None });
        Ok(cancel)
    }

    /// Gives the keys back of one that has not begun and will try again. Nobody is told: everybody would look at everything at once, again and again.
    pub(super) fn give_back(&self, uid: &str) {
        self.all().remove(uid);
    }

    /// Gives the keys back of one that has ended, and lets those who wait know.
    pub(super) fn release(&self, uid: &str) {
        self.give_back(uid);
        // Nobody listens any more when the operator has been told to end.
        let _ = self.ended.send(());
    }

    /// Runs what was reserved for.
    pub(super) fn start(&self, uid: &str, work: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(work).abort_handle();
        match self.all().get_mut(uid) {
            Some(one) => one.task = Some(task),
            // It has ended already.
            None => drop(task),
        }
    }

    /// Drops all, as a crash would.
    pub(super) fn leave(&self) {
        for (_, one) in self.all().drain() {
            if let Some(task) = one.task {
                task.abort();
            }
        }
    }
}
