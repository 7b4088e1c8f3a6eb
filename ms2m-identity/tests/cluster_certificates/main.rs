//! The real API server: who asks with which token, what is written into the request, and what comes of it.

mod world;

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::Patch;
use ms2m_identity::{CertificateDirectory, Issuer, IssuerOptions, Keeper, SIGNER};
use time::OffsetDateTime;
use tokio::time::sleep;

use crate::world::{Asked, NAMESPACE, World, asked, in_a_cluster};

/// Of a certificate in these tests: two thirds of it are over soon.
const LIFETIME: Duration = Duration::from_secs(30);
const WITHIN: Duration = Duration::from_secs(60);

fn issuer(world: &World, name: &str) -> IssuerOptions {
    let directory = CertificateDirectory::new(world.files.path().join(name));
    IssuerOptions { namespace: NAMESPACE.into(), account: "ms2m-agent".into(), lifetime: LIFETIME, directory }
}

/// Looks until it is so.
async fn until(what: &str, is: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is() {
        assert!(begun.elapsed() < WITHIN, "{what}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn several_controllers_have_one_authority_and_a_node_has_always_a_good_certificate() {
    in_a_cluster(async |world| {
        // All at once, each with the rights of the controller.
        let opening: Vec<_> = ["a", "b", "c"].map(|name| issuer(&world, name)).to_vec();
        let mut opened = tokio::task::JoinSet::new();
        for options in opening.clone() {
            let client = world.controller().await;
            opened.spawn(async move { Issuer::open(client, options).await.unwrap() });
        }
        let issuers = opened.join_all().await;
        let secrets: Api<Secret> = Api::namespaced(world.admin.clone(), NAMESPACE);
        let secret = secrets.get("ms2m-authority").await.unwrap();
        let certificate = String::from_utf8(secret.data.unwrap()["tls.crt"].0.clone()).unwrap();
        let published: Api<ConfigMap> = Api::namespaced(world.admin.clone(), NAMESPACE);
        assert_eq!(published.get("ms2m-authority").await.unwrap().data.unwrap()["ca.crt"], certificate);
        for options in &opening {
            let held = options.directory.held().unwrap();
            assert_eq!((held.name.as_str(), &held.authority), ("ms2m-controller", &certificate));
        }

        let running: Vec<_> = issuers.into_iter().map(|issuer| tokio::spawn(issuer.run())).collect();
        let directory = CertificateDirectory::new(world.files.path().join("n1"));
        let keeper = Keeper::new(world.agent("n1").await, "n1", directory.clone());
        let keeping = tokio::spawn(async move { keeper.run().await });
        until("the node gets a certificate", || directory.held().is_some()).await;
        let (first, own) = (directory.held().unwrap(), opening[0].directory.held().unwrap());
        assert_eq!((first.name.as_str(), &first.authority), ("n1", &certificate));
        assert!((first.not_after - OffsetDateTime::now_utc()) <= time::Duration::try_from(LIFETIME).unwrap(), "{first:?}");
        until("the node's certificate is renewed", || directory.held().unwrap().not_after > first.not_after).await;
        until("the controller's certificate is renewed", || opening[0].directory.held().unwrap().not_after > own.not_after).await;

        // Who replaces the authority empties it.
        let empty = Patch::Merge(serde_json::json!({ "data": null }));
        secrets.patch("ms2m-authority", &Default::default(), &empty).await.unwrap();
        until("everybody believes the new authority", || {
            let believed = directory.held().unwrap().authority;
            believed != certificate && opening.iter().all(|options| options.directory.held().unwrap().authority == believed)
        })
        .await;
        keeping.abort();
        running.iter().for_each(tokio::task::JoinHandle::abort);
    });
}

#[test]
fn who_must_not_have_a_certificate_reads_why() {
    in_a_cluster(async |world| {
        let running = tokio::spawn(Issuer::open(world.controller().await, issuer(&world, "a")).await.unwrap().run());
        let agent = world.agent("n1").await;
        let good = Asked::of("n1");
        let granted = asked(&agent, &good).await;
        assert!(granted.certificate.is_some(), "{granted:?}");
        let wrong = [
            (agent.clone(), Asked::of("n2"), "WrongNode"),
            (agent.clone(), Asked::of("ms2m-controller"), "WrongNode"),
            (agent.clone(), Asked { usages: vec!["client auth", "digital signature"], ..good.clone() }, "WrongUsages"),
            (agent.clone(), Asked { seconds: 7 * 24 * 3600, ..good.clone() }, "TooLong"),
            // A token of the same account that belongs to no pod.
            (world.unbound().await, good.clone(), "NoNode"),
            (world.admin.clone(), good.clone(), "NotAnAgent"),
        ];
        for (client, what, reason) in wrong {
            let status = asked(&client, &what).await;
            let conditions = status.conditions.unwrap_or_default();
            println!("{reason}: {conditions:?}");
            assert!(status.certificate.is_none());
            assert!(
                matches!(conditions.as_slice(), [one] if one.type_ == "Denied" && one.reason.as_deref() == Some(reason)),
                "{conditions:?}"
            );
        }
        running.abort();
        // Somebody approves what must not be: it is not signed all the same.
        let (client, what) = (agent.clone(), Asked::of("n2"));
        let request = what.create(&client).await;
        world.cluster.kubectl(&["certificate", "approve", &request]).unwrap();
        let running = tokio::spawn(Issuer::open(world.controller().await, issuer(&world, "a")).await.unwrap().run());
        let status = what.answered(&world.admin, &request).await;
        let failed = status.conditions.unwrap_or_default().into_iter().find(|condition| condition.type_ == "Failed").unwrap();
        assert_eq!((failed.reason.as_deref(), status.certificate), (Some("WrongNode"), None));
        running.abort();
    });
}

#[test]
fn accounts_may_do_what_certificates_need_and_no_more() {
    in_a_cluster(async |world| {
        let may = |account: &str, what: &str| {
            let who = format!("--as=system:serviceaccount:{NAMESPACE}:{account}");
            let words: Vec<_> = ["auth", "can-i", &who].into_iter().chain(what.split(' ')).collect();
            // It says no by its exit status.
            world.cluster.kubectl(&words).is_ok_and(|said| said.trim() == "yes")
        };
        for (account, granted) in [
            ("ms2m-agent", "create certificatesigningrequests"),
            ("ms2m-agent", "get certificatesigningrequests"),
            ("ms2m-controller", "get secrets/ms2m-authority -n ms2m-system"),
        ] {
            assert!(may(account, granted), "{account}: {granted}");
        }
        for verb in ["approve", "sign"] {
            assert!(world.may_as_signer("ms2m-controller", verb, SIGNER).await, "{verb}");
            assert!(!world.may_as_signer("ms2m-controller", verb, "kubernetes.io/kube-apiserver-client").await, "{verb}");
            assert!(!world.may_as_signer("ms2m-agent", verb, SIGNER).await, "{verb}");
        }
        for (account, refused) in [
            ("ms2m-agent", "list certificatesigningrequests"),
            ("ms2m-agent", "delete certificatesigningrequests"),
            ("ms2m-agent", "patch certificatesigningrequests --subresource=approval"),
            ("ms2m-agent", "patch certificatesigningrequests --subresource=status"),
            ("ms2m-agent", "get secrets -n ms2m-system"),
            ("ms2m-agent", "get pods -n ms2m-system"),
            ("ms2m-agent", "get nodes"),
            ("ms2m-agent", "get statefulmigrations -A"),
            ("ms2m-controller", "create certificatesigningrequests"),
            ("ms2m-controller", "get secrets/other -n ms2m-system"),
            ("ms2m-controller", "create secrets -n ms2m-system"),
            ("ms2m-controller", "list secrets -n ms2m-system"),
            ("ms2m-controller", "get secrets -n kube-system"),
        ] {
            assert!(!may(account, refused), "{account}: {refused}");
        }
    });
}
