//! Migrations as Kubernetes resources: their type, their controller, and the pods of source and copy.
//!
//! # A tour
//! - [`api`] is the resource `StatefulMigration`, as people write it and as the controller answers.
//! - [`Operator`] is the controller. It looks at each resource, refuses what cannot work, and runs one [driver](ms2m_core::Driver) of the engine for each
//!   of the others; [`StatusStore`] keeps the engine's state in the resource, from which the next controller goes on after a crash.
//! - [`DriverFactory`] is what an operator of one's own brings: the four drivers for a [`Plan`]. Two of them are wrapped here, because they concern pods:
//!   [`KubeSource`] and [`KubeTarget`] do what is to be done with the API server, and leave the containers to whoever works on the nodes.
//! - [`owner`] and [`pod`] say whose a pod is, how its copy is made, and what cannot follow.
//!
//! # What happens to the pods
//! 1. `prepare`: the copy's pod is applied: the source's spec with few changes, none of its labels, and the annotation `migration.ms2m.io/restore-from`. So no
//!    ReplicaSet counts it and no Service routes to it. When the scheduler has placed it, the node goes into the status, and its driver
//!    ([`NodeTargets`]) is asked to wait for the checkpoint.
//! 2. The engine does its work; nothing is changed at the pods.
//! 3. `promote`, once the copy owns the queue: the source gets the lowest deletion cost, and the copy, as soon as it is Ready, all the source's labels. Its
//!    ReplicaSet adopts it and deletes the source. No rollout, and nothing of the workload's template is changed; unless that is
//!    [asked for](api::Placement::Pin), and then without a rollout, too.
//! 4. `retire`: when the source's pod is marked as ending, its node ends the container.
//!
//! A roll-back deletes the copy's pod; the source was never touched.
//!
//! A StatefulSet adopts no pod of another name, and makes one of the same name only when the source is gone. So there, as the [`Strategy`] says, the source is ended once
//! its checkpoint has arrived, and the StatefulSet's next pod is the copy ([`SuccessorTarget`]); or a copy of another name stands in for it, and a second migration
//! brings the state home to the next pod, which waits for it.
//!
//! # An operator of one's own
//! ```no_run
//! use std::sync::Arc;
//!
//! use ms2m_core::{CheckpointSource, Drivers, ReplayBroker, RestoreTarget, Result, TransferBackend};
//! use ms2m_k8s::{DriverFactory, NodeTargets, Operator, Placed, Plan, PodDrivers};
//!
//! # fn source_agent(_: &Plan) -> Arc<dyn CheckpointSource> { unimplemented!() }
//! # fn target_agent(_: &Placed) -> Arc<dyn RestoreTarget> { unimplemented!() }
//! # fn transfer(_: &Plan) -> Arc<dyn TransferBackend> { unimplemented!() }
//! # fn broker(_: &str) -> Arc<dyn ReplayBroker> { unimplemented!() }
//! #[derive(Debug)]
//! struct Nodes;
//!
//! #[async_trait::async_trait]
//! impl NodeTargets for Nodes {
//!     fn name(&self) -> &'static str {
//!         "runtime"
//!     }
//!
//!     async fn target(&self, placed: &Placed) -> Result<Arc<dyn RestoreTarget>> {
//!         Ok(target_agent(placed)) // how to reach the node `placed.node`
//!     }
//! }
//!
//! struct Mine(kube::Client);
//! # impl std::fmt::Debug for Mine { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("Mine") } }
//!
//! #[async_trait::async_trait]
//! impl DriverFactory for Mine {
//!     async fn drivers(&self, plan: &Plan) -> Result<Drivers> {
//!         let PodDrivers { source, target } = PodDrivers::new(&self.0, plan, source_agent(plan), Arc::new(Nodes), Some("ms2m"));
//!         Ok(Drivers { source, transfer: transfer(plan), target, broker: broker(&plan.broker_url(&self.0).await?) })
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = ms2m_k8s::client(kube::Config::infer().await?)?;
//! let operator = Operator::new(client.clone(), Arc::new(Mine(client))).with_identity(std::env::var("POD_NAME")?);
//! operator.run_as_leader("ms2m-system", async { drop(tokio::signal::ctrl_c().await) }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A client of Kubernetes speaks TLS: the program installs a provider for that first thing, as every program with rustls does.
#![deny(missing_docs)]

mod answer;
pub mod api;
mod client;
mod drivers;
mod error;
mod home;
mod node;
mod operator;
pub mod owner;
mod pin;
mod plan;
pub mod pod;
mod source;
mod status;
mod store;
mod strategy;
mod successor;
mod target;
mod watch;

pub use client::client;
pub use drivers::PodDrivers;
pub use kube;
pub use operator::{DriverFactory, Operator, OperatorObserver};
pub use plan::Plan;
pub use source::KubeSource;
pub use store::StatusStore;
pub use strategy::Strategy;
pub use target::{KubeTarget, NodeTargets, Placed, SuccessorTarget};
