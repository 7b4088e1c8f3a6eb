//! The migrations under way in this process.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ms2m_core::Cancel;
use tokio::task::AbortHandle;

use super::OperatorObserver;

/// Who works on what.
#[derive(Debug)]
pub(super) struct Running {
    migrations_max: usize,
    observer: Arc<dyn OperatorObserver>,
    all: Mutex<HashMap<String, One>>,
}

#[derive(Debug)]
struct One {
    name: String,
    keys: Vec<String>,
    cancel: Cancel,
    task: Option<AbortHandle>,
}

fn at_work(all: &HashMap<String, One>) -> usize {
    all.values().filter(|one| !one.keys.is_empty()).count()
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
    pub(super) fn new(migrations_max: usize, observer: Arc<dyn OperatorObserver>) -> Self {
        Self { migrations_max, observer, all: Mutex::default() }
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
        if at_work(&all) >= self.migrations_max {
            return Err(Busy::Full);
        }
        let cancel = Cancel::new();
        all.insert(uid.to_owned(), One { name: name.to_owned(), keys, cancel: cancel.clone(), task: None });
        self.observer.on_running(at_work(&all));
        Ok(cancel)
    }

    /// Gives the keys back of one that has not begun and will try again: until then others may have them.
    pub(super) fn rest(&self, uid: &str) {
        let mut all = self.all();
        if let Some(one) = all.get_mut(uid) {
            one.keys.clear();
        }
        self.observer.on_running(at_work(&all));
    }

    /// Gives its keys back.
    pub(super) fn give_back(&self, uid: &str) {
        let mut all = self.all();
        all.remove(uid);
        self.observer.on_running(at_work(&all));
    }

    /// How many are at work.
    pub(super) fn count(&self) -> usize {
        at_work(&self.all())
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
