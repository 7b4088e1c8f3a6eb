//! [`Issuer`]: the controller's part.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kube::Client;
use ms2m_core::Result;
use rcgen::KeyPair;
use time::OffsetDateTime;
use tokio::time::sleep;

use crate::authority::unmade;
use crate::directory::CertificateDirectory;
use crate::policy::Policy;
use crate::signer;
use crate::store::AuthorityStore;
use crate::{Authority, CONTROLLER};

/// Between two looks at the authority and the own certificate, at most.
const LOOK: Duration = Duration::from_secs(60);
/// After a look that has failed, and while certificates are so short that they are renewed within [`LOOK`].
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What an issuer works with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IssuerOptions {
    /// Where the authority is kept and the agents' account is.
    pub namespace: String,
    /// The agents' ServiceAccount.
    pub account: String,
    /// How long a certificate is good, at most a day.
    pub lifetime: Duration,
    /// Where the controller's own certificate is written.
    pub directory: CertificateDirectory,
}

/// Keeps the controller's own certificate, and signs those of agents.
///
/// Several may run at once: who comes second finds the work done. So no agent waits for the election of a leader.
#[derive(Clone, Debug)]
pub struct Issuer {
    client: Debugless,
    options: IssuerOptions,
    store: AuthorityStore,
    authority: Arc<RwLock<Arc<Authority>>>,
}

/// A client has nothing to show.
#[derive(Clone)]
struct Debugless(Client);

impl std::fmt::Debug for Debugless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Issuer {
    /// Reads or makes the authority, and writes the controller's first certificate.
    ///
    /// # Errors
    /// When the API server refuses or cannot be reached, or the directory cannot be written.
    pub async fn open(client: Client, options: IssuerOptions) -> Result<Self> {
        let store = AuthorityStore::new(client.clone(), &options.namespace);
        let authority = Arc::new(RwLock::new(Arc::new(store.authority().await?)));
        let issuer = Self { client: Debugless(client), options, store, authority };
        issuer.store.publish(&issuer.current()).await?;
        issuer.write_own()?;
        Ok(issuer)
    }

    /// Works until it is dropped.
    pub async fn run(self) {
        let policy = Policy::new(&self.options.namespace, &self.options.account, self.options.lifetime);
        tokio::join!(signer::run(self.client.0.clone(), policy, self.clone()), self.keep());
    }

    pub(crate) fn current(&self) -> Arc<Authority> {
        Arc::clone(&self.authority.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn keep(&self) {
        let mut pause = LOOK_AGAIN;
        loop {
            sleep(pause).await;
            pause = match self.look().await {
                Ok(()) => self.pause(),
                Err(error) => {
                    tracing::warn!(%error, "the controller's certificate stays as it is");
                    LOOK_AGAIN
                }
            };
        }
    }

    fn pause(&self) -> Duration {
        let held = self.options.directory.held();
        let left = held.map(|held| held.renew_at() - OffsetDateTime::now_utc()).and_then(|left| Duration::try_from(left).ok());
        left.unwrap_or_default().clamp(LOOK_AGAIN, LOOK)
    }

    /// The authority may have been replaced, and the certificate may have grown old.
    async fn look(&self) -> Result<()> {
        let authority = self.store.authority().await?;
        if authority.certificate() != self.current().certificate() {
            tracing::info!("the authority was replaced");
            self.store.publish(&authority).await?;
            *self.authority.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(authority);
        }
        let now = OffsetDateTime::now_utc();
        let held = self.options.directory.held().filter(|held| held.is_good(CONTROLLER, now) && now < held.renew_at());
        if held.is_some_and(|held| held.authority == self.current().certificate()) {
            return Ok(());
        }
        self.write_own()
    }

    fn write_own(&self) -> Result<()> {
        let key = KeyPair::generate().map_err(unmade)?;
        let signed = self.current().sign(CONTROLLER, &key, self.options.lifetime)?;
        self.options.directory.write(&signed, &key.serialize_pem())?;
        tracing::info!(directory = %self.options.directory.path().display(), "the controller has a new certificate");
        Ok(())
    }
}
