//! Publishers as tasks.

use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::link::{Broker, LinkResult};
use ms2m_core::{Clock, Error, ErrorKind, Result};
use ms2m_testkit::workload::{Published, Publisher, SendLog, run};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// All of them.
#[derive(Debug)]
pub(crate) struct Publishers {
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<LinkResult<Published>>>>,
}

impl Publishers {
    /// Starts them, one after another within the time that one leaves between two messages.
    pub(crate) fn start(broker: &Arc<dyn Broker>, clock: &Arc<dyn Clock>, log: &Arc<dyn SendLog>, publishers: Vec<Publisher>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let count = publishers.len() as f64;
        let tasks = publishers.into_iter().enumerate().map(|(index, publisher)| {
            let (broker, clock, log, stopped) = (Arc::clone(broker), Arc::clone(clock), Arc::clone(log), stopped.clone());
            tokio::spawn(async move {
                sleep(Duration::from_secs_f64(index as f64 / (count * publisher.rate_per_s))).await;
                run(&publisher, broker, clock, log, stopped).await
            })
        });
        let tasks = Mutex::new(tasks.collect());
        Self { stop, tasks }
    }

    pub(crate) async fn are_done(&self) -> bool {
        self.tasks.lock().await.iter().all(JoinHandle::is_finished)
    }

    /// Waits for those with an end, stops the others.
    pub(crate) async fn stop(&self, now: bool) -> Result<()> {
        if now {
            self.stop.send_replace(true);
        }
        for task in self.tasks.lock().await.drain(..) {
            let published = task.await.map_err(|error| Error::fatal(ErrorKind::Other, "a publisher has crashed").caused_by(error))?;
            published.map_err(Error::from)?;
        }
        Ok(())
    }
}
