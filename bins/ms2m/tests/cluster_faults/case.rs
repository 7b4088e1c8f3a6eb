//! One case: a migration, what happens to it, and what is there in the end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Config};
use ms2m_core::Phase;
use ms2m_k8s::api::StatefulMigration;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::remains::Remains;
use crate::stage::{Act, LOOK, QUEUE, SECRET, WITHIN};
use crate::table::Row;

/// Whose the queue is in the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Owner {
    Source,
    Copy,
}

/// What all cases of a test share.
pub(crate) struct Play<'a> {
    pub(crate) act: &'a Act<'a>,
    pub(crate) client: Client,
    remains: Remains,
    random: RefCell<StdRng>,
    number: Cell<u32>,
    rows: RefCell<Vec<Row>>,
}

/// A migration that something happens to.
pub(crate) struct Move<'a> {
    pub(crate) play: &'a Play<'a>,
    fields: Value,
    pub(crate) name: String,
    pub(crate) pod: String,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

impl<'a> Play<'a> {
    pub(crate) async fn new(act: &'a Act<'a>) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = Kubeconfig::read_from(act.cluster().kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let seed = std::env::var("MS2M_SEED").ok().map_or_else(rand::random, |seed| seed.parse().expect("a number"));
        println!("MS2M_SEED={seed}");
        let random = RefCell::new(StdRng::seed_from_u64(seed));
        let remains = Remains::now(act).await;
        Self { act, client, remains, random, number: Cell::new(0), rows: RefCell::default() }
    }

    /// A moment within `of`.
    pub(crate) async fn moment(&self, of: Duration) {
        let moment = of.mul_f64(self.random.borrow_mut().random());
        sleep(moment).await;
    }

    pub(crate) fn resources(&self) -> Api<StatefulMigration> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Plays a case: `fault` begins the migration, before or after what it does to it. `fields` are those of the spec that it wants otherwise, `may_own` who
    /// may own the queue in the end, and `says` what the migration's message says then.
    pub(crate) async fn case(&self, what: &str, fields: Value, may_own: &[Owner], says: &[&str], fault: impl AsyncFnOnce(&Move<'_>)) {
        self.number.set(self.number.get() + 1);
        let begun = Instant::now();
        let (pod, to) = self.act.pod();
        let from = if to == "n1" { "n2" } else { "n1" };
        let moves = Move { play: self, fields, name: format!("case-{}", self.number.get()), pod: pod.clone(), from, to };
        println!("{}: {what}, {pod} from {from} to {to}", moves.name);
        fault(&moves).await;

        let ended = moves.ended().await;
        let status = ended.as_ref().and_then(|resource| resource.status.clone()).unwrap_or_default();
        let message = status.message.unwrap_or_default();
        self.act.is_tidy().await;
        let owner = if self.act.pod().0 == pod { Owner::Source } else { Owner::Copy };
        println!("  {:?} after {:.1} s, {owner:?} owns: {message}", status.phase, begun.elapsed().as_secs_f64());
        assert!(may_own.contains(&owner), "{what}: {owner:?} owns the queue");
        for words in says {
            assert!(message.contains(words), "{what}: {words:?} is not in {message:?}");
        }
        let completed = status.phase == Some(Phase::Completed);
        assert!(ended.is_none() || completed == (owner == Owner::Copy), "{what}: {:?}, and {owner:?} owns the queue", status.phase);
        self.serves(what).await;
        self.remains.nothing_else(self.act, what).await;
        self.act.cluster().kubectl(&["delete", "sm", &moves.name, "--ignore-not-found", "--timeout=60s"]).unwrap();
        let owners: BTreeSet<_> = may_own.iter().copied().collect();
        let row = Row { what: what.to_owned(), owners, says: says.join(" … ") };
        let mut rows = self.rows.borrow_mut();
        if !rows.contains(&row) {
            rows.push(row);
        }
    }

    /// A case of something that happens at a moment of a phase, which takes about so many milliseconds.
    pub(crate) async fn case_in(&self, what: &str, (phase, ms): (Phase, u64), may_own: &[Owner], fault: impl AsyncFnOnce(&Move<'_>)) {
        self.case(what, json!({}), may_own, &[], async |moves| {
            moves.begin().await;
            moves.comes_to(phase, Duration::from_millis(ms)).await;
            fault(moves).await;
        })
        .await;
    }

    /// Messages are applied.
    async fn serves(&self, what: &str) {
        let (begun, before) = (Instant::now(), self.remains.effects().await);
        while self.remains.effects().await <= before || self.remains.consumers().await != 1 {
            assert!(begun.elapsed() < WITHIN, "{what}: nobody serves, {} consume", self.remains.consumers().await);
            sleep(LOOK).await;
        }
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.rows.borrow().clone()
    }
}

impl Move<'_> {
    /// It is asked for.
    pub(crate) async fn begin(&self) {
        self.ask_as(&self.name).await;
    }

    pub(crate) async fn begin_to(&self, node: &str) {
        self.ask(&self.name, node).await;
    }

    /// The same under another name.
    pub(crate) async fn ask_as(&self, name: &str) {
        self.ask(name, self.to).await;
    }

    async fn ask(&self, name: &str, node: &str) {
        let (_, management) = self.play.act.broker();
        let mut spec = json!({
            "sourcePod": self.pod, "targetNode": node, "transferMode": "Direct",
            "messageQueueConfig": {"queueName": QUEUE, "brokerSecretRef": {"name": SECRET}, "managementUrl": management},
        });
        for (name, value) in self.fields.as_object().unwrap() {
            spec[name] = value.clone();
        }
        let resource = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        self.play.resources().create(&Default::default(), &resource).await.unwrap();
    }

    /// Waits until it has come to a phase, or has ended before somebody saw that. Then a moment within the phase.
    pub(crate) async fn comes_to(&self, phase: Phase, moment: Duration) {
        self.reaches(phase).await;
        self.play.moment(moment).await;
    }

    async fn reaches(&self, phase: Phase) {
        let there = |resource: Option<&StatefulMigration>| {
            resource.and_then(|resource| resource.status.as_ref()?.phase).is_some_and(|now| at(now) >= at(phase))
        };
        self.until("comes on", there).await;
    }

    /// Until it has ended; `None` when it is gone.
    pub(crate) async fn ended(&self) -> Option<StatefulMigration> {
        self.until("ends", |resource| {
            resource.is_none_or(|resource| resource.status.as_ref().is_some_and(|status| status.completion_time.is_some()))
        })
        .await
    }

    async fn until(&self, what: &str, there: impl Fn(Option<&StatefulMigration>) -> bool) -> Option<StatefulMigration> {
        self.until_of(&self.name, what, there).await
    }

    pub(crate) async fn until_of(
        &self,
        name: &str,
        what: &str,
        there: impl Fn(Option<&StatefulMigration>) -> bool,
    ) -> Option<StatefulMigration> {
        let begun = Instant::now();
        loop {
            let left = WITHIN.saturating_sub(begun.elapsed());
            let watched = timeout(left, await_condition(self.play.resources(), name, |resource: Option<&_>| there(resource))).await;
            match watched {
                Ok(Ok(found)) => return found,
                // The API server may be away.
                Ok(Err(_)) => sleep(LOOK).await,
                Err(_) => {
                    let now = self.play.resources().get_opt(name).await;
                    panic!("{name} never {what}: {now:#?}");
                }
            }
        }
    }
}

/// How far a phase is; an end is everything.
fn at(phase: Phase) -> usize {
    let order = [
        Phase::Pending,
        Phase::Checkpointing,
        Phase::Transferring,
        Phase::Restoring,
        Phase::Replaying,
        Phase::Finalizing,
        Phase::Completed,
    ];
    order.iter().position(|known| *known == phase).unwrap_or(order.len())
}
