//! One of several operators leads.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use kube_lease_manager::LeaseManagerBuilder;
use ms2m_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use super::{NAME, Operator};

/// How long a lease holds that is not renewed.
const LEASE_SECONDS: u64 = 15;
/// How long before that it is renewed.
const GRACE_SECONDS: u64 = 5;
/// How long giving it back may take.
const RELEASE: Duration = Duration::from_secs(3);

impl Operator {
    /// Runs while it holds the lease `ms2m-controller` in `lease_namespace`, until `shutdown`. Whoever loses it stops at once: its migrations are taken over by the
    /// next one, and the journal of each queue bears two for a moment.
    ///
    /// # Errors
    /// When the lease cannot be had at all, for example without the right to it.
    pub async fn run_as_leader(&self, lease_namespace: &str, shutdown: impl Future<Output = ()>) -> Result<()> {
        let failed =
            |error| Error::fatal(ErrorKind::Unavailable, "the lease of the controller cannot be kept: see its role").caused_by(error);
        let mut builder = LeaseManagerBuilder::new(self.client.clone(), NAME)
            .with_namespace(lease_namespace)
            .with_duration(LEASE_SECONDS)
            .with_grace(GRACE_SECONDS);
        if let Some(identity) = &self.identity {
            builder = builder.with_identity(identity).with_field_manager(format!("{NAME}-{identity}"));
        }
        let (mut leads, keeper) = builder.build().await.map_err(failed)?.watch().await;
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                lost = leads.wait_for(|leads| *leads) => if lost.is_err() { break },
            }
            tracing::info!("this controller leads");
            let mut until = leads.clone();
            let mut down = false;
            self.run(async {
                tokio::select! {
                    () = &mut shutdown => down = true,
                    _ = until.wait_for(|leads| !leads) => tracing::warn!("this controller has lost its lease"),
                }
            })
            .await;
            if down {
                break;
            }
        }
        drop(leads);
        match timeout(RELEASE, keeper).await {
            Ok(Ok(Err(error))) => Err(failed(error)),
            _ => Ok(()),
        }
    }
}
