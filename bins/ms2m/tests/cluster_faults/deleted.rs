//! The migration and the copy, taken away.

use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use ms2m_core::Phase;
use serde_json::json;
use tokio::time::sleep;

use crate::case::Owner::{Copy, Source};
use crate::case::{Move, Owner, Play};
use crate::stage::{LOOK, WITHIN};

const PHASES: [(Phase, u64, &[Owner]); 7] = [
    (Phase::Pending, 500, &[Source]),
    (Phase::Checkpointing, 100, &[Source]),
    (Phase::Transferring, 100, &[Source]),
    (Phase::Restoring, 100, &[Source, Copy]),
    (Phase::Replaying, 20, &[Source, Copy]),
    (Phase::Finalizing, 800, &[Source, Copy]),
    (Phase::Completed, 20, &[Copy]),
];

pub(crate) async fn cases(play: &Play<'_>) {
    for (phase, ms, may_own) in PHASES {
        let what = format!("the migration is deleted while {phase}");
        play.case_in(&what, (phase, ms), may_own, async |moves| {
            play.resources().delete(&moves.name, &DeleteParams::default()).await.unwrap();
        })
        .await;
    }
    play.case("the copy's pod is deleted while Pending", json!({}), &[Source], &[], async |moves| {
        moves.begin().await;
        moves.delete_copy().await;
    })
    .await;
}

impl Move<'_> {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.play.client.clone(), "default")
    }

    async fn delete_copy(&self) {
        let begun = Instant::now();
        let name = loop {
            let now = self.play.resources().get(&self.name).await.unwrap();
            if let Some(pod) = now.status.and_then(|status| status.target_pod)
                && self.pods().get_opt(&pod).await.unwrap().is_some()
            {
                break pod;
            }
            assert!(begun.elapsed() < WITHIN, "the copy has no pod");
            sleep(LOOK).await;
        };
        self.pods().delete(&name, &DeleteParams::default().grace_period(0)).await.unwrap();
    }
}
