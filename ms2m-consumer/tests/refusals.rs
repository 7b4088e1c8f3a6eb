//! What cannot be migrated exactly is refused with the reason, and the source works on.

mod replay;

use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::journal::{JournalBroker, JournalOptions};
use ms2m_broker::link::QueueKind;
use ms2m_core::{
    Digest, DigestChain, ErrorKind, HandoverChoice, InstanceId, MigrationId, Ownership, ReplayBroker as _, ReplayJob, ReplayStanding,
};
use ms2m_testkit::MemoryBroker;
use ms2m_testkit::conformance::ReplaySubject as _;
use tokio::time::{sleep, timeout};

const QUEUE: &str = "orders";
const LONG: Duration = Duration::from_secs(30);

struct Field {
    broker: MemoryBroker,
    subject: replay::Subject,
    job: ReplayJob,
}

impl Field {
    async fn new() -> Self {
        let broker = MemoryBroker::default();
        let subject = replay::Subject::new(Arc::new(broker.clone()), QUEUE.into(), QueueKind::Classic, false).await;
        let job = ReplayJob {
            migration: MigrationId::new("m").unwrap(),
            queue: QUEUE.into(),
            source: subject.source(),
            copy: InstanceId::new("copy").unwrap(),
            mode: HandoverChoice::Chase,
        };
        Self { broker, subject, job }
    }

    fn backend(&self, change: impl FnOnce(&mut JournalOptions)) -> JournalBroker {
        let mut options = JournalOptions::new(QueueKind::Classic, false);
        change(&mut options);
        JournalBroker::new(Arc::new(self.broker.clone()), QUEUE, options)
    }

    /// The source applies on, and nothing of the migration is left.
    async fn is_as_before(&self, backend: &JournalBroker) {
        let owner = backend.abort(&self.job.migration, "test").await.unwrap();
        assert!(matches!(owner, Ownership::Source { .. }), "{owner:?}");
        self.subject.end_copy().await;
        backend.retire(&self.job.migration, false).await.unwrap();
        let before = self.subject.applied();
        let goes_on = async {
            while self.subject.applied() < before + 5 {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(LONG, goes_on).await.expect("the source works on");
    }
}

#[tokio::test]
async fn a_journal_that_a_policy_refuses() {
    let field = Field::new().await;
    field.broker.set_faults(|faults| faults.refuse_declare = vec!["ms2m.journal.*".into()]);
    let backend = field.backend(|_| {});
    let error = backend.begin(&field.job).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("allow a stream of this name"), "{error}");
    field.is_as_before(&backend).await;
}

#[tokio::test]
async fn a_message_that_fits_into_no_record() {
    let field = Field::new().await;
    let backend = field.backend(|options| options.record_bytes_max = 1100);
    backend.begin(&field.job).await.unwrap();
    let aborted = async {
        loop {
            if let ReplayStanding::Aborted(reason) = backend.progress(&field.job.migration).await.unwrap().standing {
                break reason;
            }
        }
    };
    let reason = timeout(LONG, aborted).await.expect("the source aborts by itself");
    assert!(reason.contains("does not fit into a journal record") && reason.contains("max_message_size"), "{reason}");
    field.is_as_before(&backend).await;
}

#[tokio::test]
async fn a_copy_whose_digest_differs() {
    let field = Field::new().await;
    let backend = field.backend(|_| {});
    let migration = &field.job.migration;
    backend.begin(&field.job).await.unwrap();
    backend.park(migration).await.unwrap();
    let mut snapshot = field.subject.snapshot().await;
    // As many messages, but other ones.
    snapshot.image.chain = DigestChain::at(snapshot.image.chain.n(), Digest::of(b"another history"));
    field.subject.start_from(snapshot, &field.job.copy).unwrap();
    backend.resume(migration).await.unwrap();
    let rejected = async {
        loop {
            if let ReplayStanding::Rejected(reason) = backend.progress(migration).await.unwrap().standing {
                break reason;
            }
        }
    };
    let reason = timeout(LONG, rejected).await.expect("the copy refuses itself");
    assert!(reason.contains("digest differs"), "{reason}");
    field.is_as_before(&backend).await;
}
