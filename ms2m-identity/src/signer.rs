//! Answers requests of agents: each is judged, then approved or denied with the reason, then signed.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use ms2m_core::{ErrorKind, Result};
use serde_json::{Value, json};

use crate::api::cannot;
use crate::policy::{Policy, Refusal};
use crate::{Issuer, SIGNER};

/// Requests that are looked at side by side.
const REQUESTS_MAX: u16 = 4;
/// After something that may pass.
const AGAIN: Duration = Duration::from_secs(2);

type Requests = Api<CertificateSigningRequest>;

struct Context {
    requests: Requests,
    policy: Policy,
    issuer: Issuer,
}

/// Until it is dropped.
pub(crate) async fn run(client: Client, policy: Policy, issuer: Issuer) {
    let requests: Requests = Api::all(client);
    let ours = watcher::Config::default().fields(&format!("spec.signerName={SIGNER}"));
    let controller = Controller::new(requests.clone(), ours).with_config(Config::default().concurrency(REQUESTS_MAX));
    let context = Arc::new(Context { requests, policy, issuer });
    let answered = controller.run(answer, |_, _, _| Action::requeue(AGAIN), context);
    answered
        .for_each(|answered| {
            if let Err(error) = answered {
                tracing::debug!(%error, "a request of an agent is answered later");
            }
            ready(())
        })
        .await;
}

async fn answer(request: Arc<CertificateSigningRequest>, context: Arc<Context>) -> Result<Action> {
    match context.answer(&request).await {
        // Another controller was faster; what it has done comes as a change.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Action::await_change()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => {
            tracing::debug!(%error, request = request.name_any(), "nothing is left to do for a request");
            Ok(Action::await_change())
        }
        Err(error) => {
            tracing::warn!(%error, request = request.name_any(), "a request of an agent cannot be answered now");
            Err(error)
        }
        Ok(()) => Ok(Action::await_change()),
    }
}

impl Context {
    async fn answer(&self, request: &CertificateSigningRequest) -> Result<()> {
        let status = request.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let is = |kind: &str| conditions.iter().any(|condition| condition.type_ == kind);
        if status.certificate.is_some() || is("Denied") || is("Failed") {
            return Ok(());
        }
        // Also of one that somebody else has approved.
        let judged = self.policy.judge(&request.spec);
        match judged {
            Err(refusal) if is("Approved") => self.fail(request, conditions, &refusal).await,
            Err(refusal) => self.approval(request, conditions, "Denied", &refusal).await,
            Ok(granted) if is("Approved") => {
                let signed = self.issuer.current().sign(&granted.node, &granted.key, granted.lifetime)?;
                let chain = ByteString(format!("{}{}", signed.certificate, signed.authority).into_bytes());
                self.status(request, &json!({ "certificate": chain })).await?;
                tracing::info!(node = granted.node, lifetime_s = granted.lifetime.as_secs(), "signed the certificate of an agent");
                Ok(())
            }
            Ok(granted) => {
                let message = format!("asked by a pod of the agents' account on {}", granted.node);
                self.approval(request, conditions, "Approved", &Refusal { reason: "OwnNode", message }).await
            }
        }
    }

    async fn approval(
        &self,
        request: &CertificateSigningRequest,
        mut conditions: Vec<CertificateSigningRequestCondition>,
        kind: &str,
        why: &Refusal,
    ) -> Result<()> {
        if kind == "Denied" {
            tracing::warn!(
                request = request.name_any(),
                reason = why.reason,
                why = why.message,
                "denied a request for an agent's certificate"
            );
        }
        conditions.push(condition(kind, why));
        let patch = patch(request, &json!({ "conditions": conditions }));
        let patched = self.requests.patch_approval(&request.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(drop).map_err(|error| cannot(error, "approve or deny the request of an agent"))
    }

    /// One that was approved can only be failed.
    async fn fail(
        &self,
        request: &CertificateSigningRequest,
        mut conditions: Vec<CertificateSigningRequestCondition>,
        why: &Refusal,
    ) -> Result<()> {
        tracing::warn!(request = request.name_any(), reason = why.reason, why = why.message, "an approved request is not signed");
        conditions.push(condition("Failed", why));
        self.status(request, &json!({ "conditions": conditions })).await
    }

    async fn status(&self, request: &CertificateSigningRequest, status: &Value) -> Result<()> {
        let patch = patch(request, status);
        let patched = self.requests.patch_status(&request.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(drop).map_err(|error| cannot(error, "write the certificate of an agent"))
    }
}

/// Of exactly what was judged: a request that has changed since is a conflict.
fn patch(request: &CertificateSigningRequest, status: &Value) -> Value {
    json!({ "metadata": { "resourceVersion": request.resource_version() }, "status": status })
}

fn condition(kind: &str, why: &Refusal) -> CertificateSigningRequestCondition {
    let now = Some(Time(k8s_openapi::jiff::Timestamp::now()));
    CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(why.reason.to_owned()),
        message: Some(why.message.clone()),
        last_update_time: now,
        ..Default::default()
    }
}
