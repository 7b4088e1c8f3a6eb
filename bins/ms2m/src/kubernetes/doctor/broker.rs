//! The Secret with the broker's URL: whether it is there, and whether the controller may read it.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::PostParams;
use kube::{Api, Client};
use ms2m_criu::check::Check;
use ms2m_k8s::api::BrokerSecretRef;

use super::super::client::refused;
use super::super::consumed::{Said, consumed};
use super::access;

/// The account of `deploy/`.
const CONTROLLER: &str = "system:serviceaccount:ms2m-system:ms2m-controller";

/// Nothing where the pod names no Secret.
pub(super) async fn checks(client: &Client, namespace: &str, pod: &Pod) -> Vec<Check> {
    let Some(wanted) = consumed(pod, &Said::default()).ok().and_then(|found| found.broker_secret_ref) else { return Vec::new() };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let held = match secrets.get_opt(&wanted.name).await {
        Ok(secret) => held(secret.as_ref(), &wanted),
        Err(error) => access::unknown("secret", &refused("look at the broker's Secret")(error)),
    };
    vec![held, readable(client, namespace, &wanted).await]
}

fn held(secret: Option<&Secret>, wanted: &BrokerSecretRef) -> Check {
    let BrokerSecretRef { name, key } = wanted;
    let Some(secret) = secret else {
        let remedy = format!("kubectl create secret generic {name} --from-literal={key}=amqp://USER:PASSWORD@HOST:5672");
        return Check::fail("secret", format!("{name} is not there")).remedy(remedy);
    };
    let value = secret.data.iter().flatten().find(|(known, _)| *known == key).map(|(_, value)| value.0.as_slice());
    match value.map(|value| std::str::from_utf8(value).unwrap_or_default().trim()) {
        None => {
            let keys: Vec<_> = secret.data.iter().flatten().map(|(known, _)| known.as_str()).collect();
            Check::fail(
                "secret",
                format!("{name} has no key {key}, but {}", if keys.is_empty() { "none".to_owned() } else { keys.join(", ") }),
            )
            .remedy(format!("write migration.ms2m.io/broker-secret: {name}/KEY with the key that holds the broker's URL"))
        }
        // What it is instead may be a password, and is not shown.
        Some(url) if !url.starts_with("amqp://") && !url.starts_with("amqps://") => {
            Check::fail("secret", format!("what {name} has under {key} is no URL of a broker"))
                .remedy("amqp://USER:PASSWORD@HOST:5672/VHOST")
        }
        Some(_) => Check::ok("secret", format!("{name} holds the broker's URL under {key}")),
    }
}

async fn readable(client: &Client, namespace: &str, wanted: &BrokerSecretRef) -> Check {
    let attributes = ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        verb: Some("get".to_owned()),
        resource: Some("secrets".to_owned()),
        name: Some(wanted.name.clone()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec { user: Some(CONTROLLER.to_owned()), resource_attributes: Some(attributes), ..Default::default() };
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let asked = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    match reviews.create(&PostParams::default(), &asked).await {
        Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => {
            Check::ok("rights", "the controller's account may read the Secret")
        }
        Ok(_) => Check::fail("rights", format!("the controller's account, {CONTROLLER}, may not read the Secret")).remedy(format!(
            "kubectl create rolebinding ms2m-broker-secrets --clusterrole ms2m-broker-secrets \
             --serviceaccount ms2m-system:ms2m-controller --namespace {namespace}"
        )),
        Err(error) => access::unknown("rights", &refused("ask what the controller's account may do")(error)),
    }
}

#[cfg(test)]
mod tests {
    use ms2m_criu::check::CheckResult;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_must_hold_a_url_under_its_key_and_shows_nothing() {
        let wanted = BrokerSecretRef { name: "broker".into(), key: "url".into() };
        // amqp://u:p@b, and "secret".
        let secret = |key: &str, value: &str| serde_json::from_value(json!({ "data": { key: value } })).unwrap();
        assert_eq!(held(Some(&secret("url", "YW1xcDovL3U6cEBi")), &wanted).result, CheckResult::Ok);
        for (bad, why) in
            [(Some(secret("uri", "YW1xcDovL3U6cEBi")), "but uri"), (Some(secret("url", "c2VjcmV0")), "no URL"), (None, "not there")]
        {
            let line = held(bad.as_ref(), &wanted);
            assert!(line.result == CheckResult::Fail && line.reason.contains(why) && line.remedy.is_some(), "{line}");
            assert!(!line.to_string().contains("u:p") && !line.reason.contains(" secret"), "{line}");
        }
    }
}
