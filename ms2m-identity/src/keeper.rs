//! [`Keeper`]: an agent's certificate, always a good one.

use std::time::Duration;

use kube::Client;
use ms2m_core::Result;
use time::OffsetDateTime;
use tokio::time::sleep;

use crate::directory::CertificateDirectory;
use crate::request::request;

/// Between two looks at the clock, which may be set.
const LOOK: Duration = Duration::from_secs(60);
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Asks for the certificate of a node, and renews it when two thirds of its time are over.
#[derive(Clone)]
pub struct Keeper {
    client: Client,
    node: String,
    directory: CertificateDirectory,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("node", &self.node).field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Keeper {
    /// For this node, with the account and the token of this client.
    #[must_use]
    pub fn new(client: Client, node: impl Into<String>, directory: CertificateDirectory) -> Self {
        Self { client, node: node.into(), directory }
    }

    /// Works until it is dropped. What fails is said, and tried again after pauses that grow to a minute.
    pub async fn run(&self) {
        let mut pause = PAUSE_MIN;
        loop {
            let left = self.left();
            if !left.is_zero() {
                sleep(left.min(LOOK)).await;
                continue;
            }
            match self.renew().await {
                Ok(()) => pause = PAUSE_MIN,
                Err(error) => {
                    tracing::warn!(%error, node = self.node, again_in_s = pause.as_secs(), "the node has no new certificate");
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Until the certificate is to be renewed.
    fn left(&self) -> Duration {
        let now = OffsetDateTime::now_utc();
        let held = self.directory.held().filter(|held| held.is_good(&self.node, now));
        held.and_then(|held| Duration::try_from(held.renew_at() - now).ok()).unwrap_or_default()
    }

    async fn renew(&self) -> Result<()> {
        let (signed, key) = request(&self.client, &self.node).await?;
        self.directory.write(&signed, &key)?;
        tracing::info!(node = self.node, directory = %self.directory.path().display(), "the node has a new certificate");
        Ok(())
    }
}
