//! What cannot be migrated is refused with what to do about it, and the consumer works on.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ms2m_broker::journal::{JournalBroker, JournalOptions};
use ms2m_broker::link::{Broker, Connection, ConsumeOptions, QueueKind, QueueOptions, Subscription, body_only};
use ms2m_broker::protocol::journal_name;
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_core::{ErrorKind, HandoverChoice, InstanceId, MigrationId, ReplayBroker as _, ReplayJob};
use ms2m_testkit_rabbitmq::{Options, RabbitMqServer};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

static SERVER: OnceLock<RabbitMqServer> = OnceLock::new();

fn server() -> &'static RabbitMqServer {
    SERVER.get_or_init(|| RabbitMqServer::start(&Options::default()).unwrap())
}

/// A queue, and processes of the demo's consumer on it.
struct Field {
    queue: &'static str,
    broker: Arc<dyn Broker>,
    admin: Arc<dyn Connection>,
    directory: TempDir,
    children: Vec<Child>,
}

impl Drop for Field {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const CLASSIC: QueueOptions = QueueOptions { kind: QueueKind::Classic, single_active_consumer: false, bytes_max: None };

impl Field {
    async fn new(queue: &'static str) -> Self {
        let config = RabbitMqConfig::new(&server().amqp_url()).unwrap().with_management(&server().management_url()).unwrap();
        let broker: Arc<dyn Broker> = Arc::new(RabbitMq::new(config).unwrap());
        let admin = broker.connect(&format!("admin-{queue}")).await.unwrap();
        admin.declare(queue, &CLASSIC).await.unwrap();
        admin.declare(&format!("{queue}.effects"), &CLASSIC).await.unwrap();
        Self { queue, broker, admin, directory: tempfile::tempdir().unwrap(), children: Vec::new() }
    }

    /// Starts a consumer with the SDK and waits until it consumes.
    async fn consumer(&mut self, instance: &str) {
        let effects = format!("{}.effects", self.queue);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ms2m"));
        command.args(["demo-consumer", "--queue", self.queue, "--queue-type", "classic", "--effects", &effects]);
        command.args(["--instance", instance, "--service-us", "100"]);
        command.arg("--snapshots").arg(self.directory.path());
        command.arg("--process-file").arg(self.directory.path().join(instance));
        command.env("MS2M_DEMO_BROKER", server().amqp_url()).stdout(Stdio::null());
        let before = self.consumers().await;
        self.children.push(command.spawn().unwrap());
        self.until(|consumers, _| consumers > before).await;
    }

    /// A consumer that is not built with the SDK.
    async fn plain_consumer(&self) -> Box<dyn Subscription> {
        let options = ConsumeOptions { prefetch: 5, from_offset: None, tag: "plain".into() };
        self.admin.consume(self.queue, &options).await.unwrap()
    }

    async fn consumers(&self) -> u32 {
        self.admin.queue_status(self.queue).await.unwrap().unwrap().consumers
    }

    async fn until(&self, is_so: impl Fn(u32, u32) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let status = self.admin.queue_status(self.queue).await.unwrap().unwrap();
            if is_so(status.consumers, status.ready) {
                return;
            }
            assert!(Instant::now() < deadline, "{status:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn replay(&self) -> JournalBroker {
        JournalBroker::new(Arc::clone(&self.broker), self.queue, JournalOptions::new(QueueKind::Classic, false))
    }

    fn job(&self, migration: &str, source: &str) -> ReplayJob {
        ReplayJob {
            migration: MigrationId::new(migration).unwrap(),
            queue: self.queue.to_owned(),
            source: InstanceId::new(source).unwrap(),
            copy: InstanceId::new("copy").unwrap(),
            mode: HandoverChoice::Auto,
        }
    }

    /// Whoever consumes still does.
    async fn works_on(&self) {
        let effects = format!("{}.effects", self.queue);
        let options = ConsumeOptions { prefetch: 1, from_offset: None, tag: "check".into() };
        let mut seen: Box<dyn Subscription> = self.admin.consume(&effects, &options).await.unwrap();
        let mut publisher = self.admin.publisher().await.unwrap();
        publisher.publish(self.queue, body_only("work".into())).await.unwrap().await.unwrap();
        let effect = tokio::time::timeout(Duration::from_secs(10), seen.next()).await.expect("an effect").unwrap();
        seen.ack_up_to(effect.tag).await.unwrap();
        seen.close().await.unwrap();
    }
}

async fn refused(field: &Field, source: &str, kind: ErrorKind, words: &str) {
    let error = field.replay().begin(&field.job("m-1", source)).await.expect_err(words);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_queue() {
    let mut field = Field::new("unknown").await;
    field.queue = "nowhere";
    refused(&field, "a", ErrorKind::NotFound, "does not exist").await;
    assert_eq!(field.admin.queue_status(&journal_name("nowhere")).await.unwrap(), None, "no journal is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_consumes() {
    let field = Field::new("idle").await;
    refused(&field, "a", ErrorKind::NotFound, "start the consumer first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_share_the_queue() {
    let mut field = Field::new("shared").await;
    field.consumer("shared-a").await;
    // A second one with the SDK would wait; one without it knows no manners.
    let plain = field.plain_consumer().await;
    refused(&field, "shared-a", ErrorKind::Unsupported, "2 consumers share the queue").await;
    plain.close().await.unwrap();
    field.works_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_without_sdk() {
    let field = Field::new("plain").await;
    let mut plain = field.plain_consumer().await;
    let error = field.replay().begin(&field.job("m-1", "plain-a")).await.expect_err("nobody joins");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let mut publisher = field.admin.publisher().await.unwrap();
    publisher.publish("plain", body_only("work".into())).await.unwrap().await.unwrap();
    let delivery = plain.next().await.unwrap();
    assert_eq!(delivery.message.body, "work", "it is served as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_migrates_already() {
    let mut field = Field::new("busy").await;
    field.consumer("busy-a").await;
    let (first, job) = (field.replay(), field.job("m-1", "busy-a"));
    first.begin(&job).await.unwrap();
    let error = field.replay().begin(&field.job("m-2", "busy-a")).await.expect_err("one at a time");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    // The refused one has not disturbed the first.
    first.abort(&job.migration, "enough").await.unwrap();
    first.retire(&job.migration, false).await.unwrap();
    field.works_on().await;
}
