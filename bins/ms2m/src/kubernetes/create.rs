//! `ms2m migrate POD --to NODE`: makes the resource.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use ms2m_core::{Error, ErrorKind, Result};
use ms2m_k8s::api::{MIGRATION_LABEL, StatefulMigration, StatefulMigrationSpec};
use serde_json::{Value, json};

use super::args::{CheckpointChoice, RestoreChoice, StrategyChoice};
use super::client::{connect, migrations, refused};
use super::consumed::{Said, consumed, container};
use super::follow;
use crate::demo::Mode;
use crate::exit::Exit;
use crate::migrate::{MigrateArgs, TransferChoice};

pub(super) async fn create(args: &MigrateArgs, pod: &str) -> Result<Exit> {
    let client = connect(&args.cluster.cluster).await?;
    let source = Api::<Pod>::default_namespaced(client.clone()).get(pod).await.map_err(refused("look at the pod"))?;
    let migrations = migrations(&client);
    let made = make(&migrations, pod, spec(args, &source)?).await?;
    let name = made.name_any();
    if args.cluster.no_wait {
        println!("{name}");
        return Ok(Exit::Done);
    }
    eprintln!("ms2m: migration {name}; `ms2m cancel {name}` rolls it back");
    let moved = follow::to_the_end(migrations.clone(), &name, args.output).await?;
    let Some(home) = way_home(&migrations, &made).await?.filter(|_| moved == Exit::Done) else { return Ok(moved) };
    eprintln!("ms2m: {pod} is made anew, and the state goes on to it: migration {home}");
    follow::to_the_end(migrations, &home, args.output).await
}

/// The migration that brings the state of a StatefulSet's pod from its stand-in to the pod of its name.
async fn way_home(migrations: &Api<StatefulMigration>, of: &StatefulMigration) -> Result<Option<String>> {
    let of = ListParams::default().labels(&format!("{MIGRATION_LABEL}={}", of.metadata.uid.as_deref().unwrap_or_default()));
    let found = migrations.list(&of).await.map_err(refused("look for the way home"))?;
    Ok(found.items.first().map(kube::ResourceExt::name_any))
}

/// Makes the resource, under a name of its own.
pub(super) async fn make(migrations: &Api<StatefulMigration>, pod: &str, spec: StatefulMigrationSpec) -> Result<StatefulMigration> {
    let mut wanted = StatefulMigration::new("", spec);
    wanted.metadata.name = None;
    wanted.metadata.generate_name = Some(format!("{}-", shortened(pod)));
    migrations.create(&PostParams::default(), &wanted).await.map_err(refused("create the migration"))
}

/// A random ending must fit behind it.
fn shortened(pod: &str) -> &str {
    pod.get(..200).unwrap_or(pod).trim_end_matches(['-', '.'])
}

fn spec(args: &MigrateArgs, pod: &Pod) -> Result<StatefulMigrationSpec> {
    let said = Said {
        queue: args.queue.as_deref(),
        broker: args.broker.as_deref(),
        broker_secret: args.cluster.broker_secret.as_deref(),
        management: args.management.as_deref(),
    };
    let consumed = consumed(pod, &said)?;
    let mut spec = json!({
        "sourcePod": pod.name_any(),
        "containerName": args.cluster.container.as_deref().or(container(pod)),
        "targetNode": args.cluster.to,
        "migrationStrategy": args.cluster.strategy.map(|strategy| match strategy {
            StrategyChoice::ShadowPod => "ShadowPod",
            StrategyChoice::Sequential => "Sequential",
        }),
        "placement": args.cluster.pin.then_some("Pin"),
        "restoreDriver": args.cluster.restore_driver.map(|driver| match driver {
            RestoreChoice::Runtime => "Runtime",
            RestoreChoice::Image => "Image",
        }),
        "checkpointDriver": args.cluster.checkpoint_driver.map(|driver| match driver {
            CheckpointChoice::Runtime => "Runtime",
            CheckpointChoice::Kubelet => "Kubelet",
        }),
        "transferMode": match args.transfer {
            None | Some(TransferChoice::Direct) => "Direct",
            Some(TransferChoice::Registry) => "Registry",
            Some(TransferChoice::SharedVolume) => "SharedVolume",
        },
        "checkpointImageRepository": args.repository,
        "messageQueueConfig": consumed,
        "handover": {"mode": match args.mode { Mode::Auto => "Auto", Mode::Chase => "Chase", Mode::Hold => "Hold" }},
        "bytesPerSecondMax": args.way.bytes_per_second,
    });
    if args.pre_dump > 0 {
        spec["preDump"] = json!({"enabled": true, "maxRounds": args.pre_dump});
    }
    if let Value::Object(fields) = &mut spec {
        fields.retain(|_, value| !value.is_null());
    }
    let odd = |error| Error::fatal(ErrorKind::Invalid, "the migration cannot be written").caused_by(error);
    serde_json::from_value(spec).map_err(odd)
}
