//! The contract of a transfer, on a registry in this process.

use std::sync::Arc;

use ms2m_testkit::conformance;
use ms2m_testkit::fake_registry::{Access, FakeRegistry, Faults};
use ms2m_transfer_registry::{Credentials, Registry, RegistryOptions};

fn options(credentials: Credentials) -> RegistryOptions {
    RegistryOptions { credentials, plain_http: true, ..RegistryOptions::default() }
}

async fn keeps_the_contract(access: Access, faults: Faults, credentials: Credentials) {
    let registry = FakeRegistry::start(access, faults).await.unwrap();
    let name = format!("{}/ms2m/checkpoints", registry.address());
    conformance::transfer(async || Arc::new(Registry::new(&name, options(credentials.clone())).unwrap())).await;
    // Whatever went wrong in there, no unfinished upload is left.
    assert_eq!(registry.census().uploads, 0, "{:?}", registry.census());
}

#[tokio::test]
async fn everybody_may_push() {
    keeps_the_contract(Access::Everybody, Faults::default(), Credentials::Anonymous).await;
}

#[tokio::test]
async fn with_a_password() {
    let access = Access::Basic { user: "ms2m".into(), password: "geheim".into() };
    keeps_the_contract(access, Faults::default(), Credentials::Password { user: "ms2m".into(), password: "geheim".into() }).await;
}

#[tokio::test]
async fn with_tokens_that_soon_expire() {
    let access = Access::Token { user: "ms2m".into(), password: "geheim".into() };
    let faults = Faults { token_requests: Some(3), ..Faults::default() };
    keeps_the_contract(access, faults, Credentials::Password { user: "ms2m".into(), password: "geheim".into() }).await;
}

#[tokio::test]
async fn in_small_requests_without_ranges_and_mounts() {
    let faults = Faults { request_bytes_max: Some(1 << 20), no_ranges: true, no_mount: true, page_tags: Some(1), ..Faults::default() };
    keeps_the_contract(Access::Everybody, faults, Credentials::Anonymous).await;
}
