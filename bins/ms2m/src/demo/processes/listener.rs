//! The auditor's side of the broker: publishers' files and the queue of effects.

use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::Broker;
use ms2m_broker::link::{Connection, ConsumeOptions, LinkResult};
use ms2m_core::Result;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::send_file::SendFileReader;
use super::spawn::Layout;
use crate::demo::judge::Judge;

const PREFETCH: u16 = 1000;
/// Publishers' files are looked at as often as this when no effects come.
const LOOK: Duration = Duration::from_millis(10);
const RECONNECT_AFTER: Duration = Duration::from_millis(200);

/// Reads publishers' files.
#[derive(Debug)]
pub(super) struct SendFiles {
    judge: Arc<Judge>,
    readers: Mutex<Vec<SendFileReader>>,
}

impl SendFiles {
    pub(super) fn new(judge: Arc<Judge>, layout: &Layout, publishers: impl IntoIterator<Item = String>) -> Self {
        let reader = |name: String| {
            let path = layout.sent(&name);
            SendFileReader::new(name, path)
        };
        Self { judge, readers: Mutex::new(publishers.into_iter().map(reader).collect()) }
    }

    /// Tells the judge what is new.
    pub(super) async fn follow(&self) -> Result<()> {
        self.readers.lock().await.iter_mut().try_for_each(|reader| reader.follow(&self.judge))
    }

    /// The publishers that have not said that all is done.
    pub(super) async fn busy(&self) -> Vec<String> {
        self.readers.lock().await.iter().filter(|reader| !reader.is_done()).map(|reader| reader.publisher().to_owned()).collect()
    }
}

/// Reads effects until it is aborted.
pub(super) fn listen(broker: Arc<dyn Broker>, effects: String, files: Arc<SendFiles>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut next_offset = 0;
        loop {
            let Err(error) = attached(&*broker, &effects, &files, &mut next_offset).await else { return };
            tracing::debug!(%error, "the auditor reconnects");
            sleep(RECONNECT_AFTER).await;
        }
    })
}

async fn attached(broker: &dyn Broker, effects: &str, files: &SendFiles, next_offset: &mut u64) -> LinkResult<()> {
    let connection: Arc<dyn Connection> = broker.connect(&format!("ms2m-auditor-{effects}")).await?;
    let options = ConsumeOptions { prefetch: PREFETCH, from_offset: Some(*next_offset), tag: "auditor".into() };
    let mut subscription = connection.consume(effects, &options).await?;
    loop {
        let first = timeout(LOOK, subscription.next()).await;
        // What an effect shows was sent before, so the files have it by now.
        if let Err(error) = files.follow().await {
            tracing::error!(%error, "the auditor cannot follow the publishers");
        }
        let Ok(delivery) = first else { continue };
        let delivery = delivery?;
        let offset = delivery.offset.unwrap_or(*next_offset);
        if offset >= *next_offset {
            files.judge.effect(&delivery.message.body);
            *next_offset = offset + 1;
        }
        subscription.ack_up_to(delivery.tag).await?;
    }
}
