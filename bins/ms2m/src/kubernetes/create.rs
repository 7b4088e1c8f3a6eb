//! `ms2m migrate POD --to NODE`: makes the resource.

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use ms2m_core::{Error, ErrorKind, Result};
use ms2m_k8s::api::{StatefulMigration, StatefulMigrationSpec};
use serde_json::{Map, Value, json};

use super::client::{connect, migrations, refused};
use super::follow;
use crate::demo::Mode;
use crate::exit::Exit;
use crate::migrate::{MigrateArgs, TransferChoice};

/// Annotations by which a pod says what it consumes, so that nobody has to know.
const QUEUE: &str = "migration.ms2m.io/queue";
const BROKER_SECRET: &str = "migration.ms2m.io/broker-secret";

pub(super) async fn create(args: &MigrateArgs, pod: &str) -> Result<Exit> {
    let client = connect(&args.cluster.cluster).await?;
    let source = Api::<Pod>::default_namespaced(client.clone()).get(pod).await.map_err(refused("look at the pod"))?;
    let mut wanted = StatefulMigration::new("", spec(args, &source)?);
    wanted.metadata.name = None;
    wanted.metadata.generate_name = Some(format!("{}-", shortened(pod)));
    let migrations = migrations(&client);
    let made = migrations.create(&PostParams::default(), &wanted).await.map_err(refused("create the migration"))?;
    let name = made.name_any();
    if args.cluster.no_wait {
        println!("{name}");
        return Ok(Exit::Done);
    }
    eprintln!("ms2m: migration {name}; `ms2m cancel {name}` rolls it back");
    follow::to_the_end(migrations, &name, args.output).await
}

/// A random ending must fit behind it.
fn shortened(pod: &str) -> &str {
    pod.get(..200).unwrap_or(pod).trim_end_matches(['-', '.'])
}

fn spec(args: &MigrateArgs, pod: &Pod) -> Result<StatefulMigrationSpec> {
    let annotation = |name: &str| pod.annotations().get(name).cloned();
    let missing = |message: &str| Error::fatal(ErrorKind::Invalid, message.to_owned()).with("pod", pod.name_any());
    let queue = args.queue.clone().or_else(|| annotation(QUEUE));
    let mut consumed = Map::new();
    consumed.insert(
        "queueName".into(),
        json!(queue.ok_or_else(|| missing("which queue does it consume? Say --queue, or annotate the pod with migration.ms2m.io/queue"))?),
    );
    match (&args.broker, args.cluster.broker_secret.clone().or_else(|| annotation(BROKER_SECRET))) {
        (Some(url), _) => consumed.insert("brokerUrl".into(), json!(url)),
        (None, Some(secret)) => {
            let (name, key) = secret.split_once('/').unwrap_or((&secret, "url"));
            consumed.insert("brokerSecretRef".into(), json!({"name": name, "key": key}))
        }
        (None, None) => {
            let message = "where is the broker? Say --broker-secret or --broker, or annotate the pod with migration.ms2m.io/broker-secret";
            return Err(missing(message));
        }
    };
    if let Some(management) = &args.management {
        consumed.insert("managementUrl".into(), json!(management));
    }
    let mut spec = json!({
        "sourcePod": pod.name_any(),
        "containerName": args.cluster.container,
        "targetNode": args.cluster.to,
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
