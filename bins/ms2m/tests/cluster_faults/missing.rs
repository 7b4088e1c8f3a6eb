//! What is not there, and what two want at once.

use ms2m_core::Phase;
use serde_json::{Value, json};

use crate::case::Owner::{Copy, Source};
use crate::case::Play;
use crate::stage::{QUEUE, SECRET};

pub(crate) async fn cases(play: &Play<'_>) {
    let management = play.act.broker().1;
    let queue = |queue: &str, secret: &str| json!({"messageQueueConfig": {"queueName": queue, "brokerSecretRef": {"name": secret}, "managementUrl": management}});
    for (what, fields, says) in [
        (
            "there is no such pod",
            json!({"sourcePod": "nobody"}),
            "there is no such pod: name one that runs, in the namespace of the migration",
        ),
        ("there is no such container in it", json!({"containerName": "nobody"}), "the pod has no such container: it has counter"),
        ("there is no such Secret", queue(QUEUE, "nobody"), "there is no such Secret in the namespace of the migration"),
        ("there is no such queue", queue("nobody", SECRET), "queue \"nobody\" does not exist"),
    ] {
        play.case(what, fields, &[Source], &[says], async |moves| moves.begin().await).await;
    }
    play.case("the target is the source's own node", json!({}), &[Source], &["it runs on the target node already"], async |moves| {
        moves.begin_to(moves.from).await;
    })
    .await;
    let cannot_follow = [
        "it runs on the target node already",
        "hostNetwork: its addresses and its host name belong to the node",
        "init container log has restartPolicy Always",
        "volume data is of kind hostPath: its content stays on the node",
    ];
    play.case("much of the pod cannot follow it", json!({"sourcePod": "odd"}), &[Source], &cannot_follow, async |moves| {
        play.act.cluster().apply(&odd(moves.to).to_string()).unwrap();
        moves.begin().await;
        moves.ended().await;
        play.act.cluster().kubectl(&["delete", "pod", "odd", "--grace-period=0", "--force"]).unwrap();
    })
    .await;
    let binding = ["rolebinding", "ms2m-broker-secrets"];
    let says = ["read the broker's Secret"];
    play.case("nobody has let the controller read the Secret", json!({}), &[Source], &says, async |moves| {
        let kept = play.act.cluster().kubectl(&["get", binding[0], binding[1], "--output", "json"]).unwrap();
        play.act.cluster().kubectl(&["delete", binding[0], binding[1]]).unwrap();
        moves.begin().await;
        moves.ended().await;
        play.act.cluster().apply(&kept).unwrap();
    })
    .await;
    play.case("somebody wants another target while it moves: that is refused", json!({}), &[Copy], &[], async |moves| {
        moves.begin().await;
        let patch = r#"{"spec": {"targetNode": "n9"}}"#;
        let refused = play.act.cluster().kubectl(&["patch", "sm", &moves.name, "--type=merge", "--patch", patch]).unwrap_err().to_string();
        assert!(refused.contains("spec cannot be changed"), "{refused}");
    })
    .await;
    let fields = json!({"targetNode": "n9", "timeouts": {"pendingSeconds": 8}});
    play.case("there is no such node", fields, &[Source], &["in vain for a node for the copy"], async |moves| moves.begin().await).await;
    play.case("it is asked for twice: the second one waits, and has no source then", json!({}), &[Copy], &["moved in"], async |moves| {
        moves.begin().await;
        moves.ask_as("second").await;
        moves.ended().await;
        let refused = moves.until_of("second", "ends", |resource| {
            resource.is_some_and(|resource| resource.status.as_ref().is_some_and(|status| status.phase.is_some_and(Phase::is_final)))
        });
        let status = refused.await.unwrap().status.unwrap();
        println!("  second: {:?}: {}", status.phase, status.message.unwrap_or_default());
        assert_eq!(status.phase, Some(Phase::Failed));
        play.act.cluster().kubectl(&["delete", "sm", "second", "--timeout=60s"]).unwrap();
    })
    .await;
}

/// A pod with what its node alone has.
fn odd(node: &str) -> Value {
    let container = json!({"name": "main", "image": "localhost/pause:1"});
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "odd"},
        "spec": {
            "nodeName": node, "hostNetwork": true, "containers": [container],
            "initContainers": [{"name": "log", "image": "localhost/pause:1", "restartPolicy": "Always"}],
            "volumes": [{"name": "data", "hostPath": {"path": "/tmp"}}],
        },
    })
}
