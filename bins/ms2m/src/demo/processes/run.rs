//! A demo of processes from its beginning, or from where an earlier driver has left it.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use ms2m_broker::Broker;
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_core::{Cancel, Error, ErrorKind, Result, SystemClock};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::listener::listen;
use super::spawn::Layout;
use super::stage::{Processes, effects};
use crate::demo::args::DemoArgs;
use crate::demo::diary::Diary;
use crate::demo::faults::Tally;
use crate::demo::judge::Judge;
use crate::demo::output::{Ending, Live, Teller};
use crate::demo::story::Story;
use crate::file_store::{read_json, write_json};
use crate::interrupt;

/// The demo that a directory belongs to.
#[derive(Serialize, Deserialize)]
struct Begun {
    id: String,
    args: DemoArgs,
    /// Whether consumer and publishers were started.
    started: bool,
}

/// Plays it.
pub(crate) async fn play(args: DemoArgs, teller: &mut dyn Teller, cancel: Cancel, told: watch::Receiver<bool>) -> Result<Ending> {
    let temporary;
    let root: &Path = match &args.state_dir {
        Some(path) => path,
        None => {
            let made = tempfile::Builder::new().prefix("ms2m-demo-").tempdir();
            temporary = made.map_err(|error| Error::fatal(ErrorKind::Other, "no temporary directory").caused_by(error))?;
            temporary.path()
        }
    };
    let layout = Layout::make(root)?;
    let _lock = lock(&layout)?;
    let file = layout.root().join("demo.json");
    let url = args.broker.clone().unwrap_or_default();
    let broker = reach(&args, &url).await?;
    let (begun, resumes) = match read_json::<Begun>(&file)? {
        Some(begun) if begun.started => (begun, true),
        // One that never started has left at most queues without messages.
        Some(begun) => (begun, false),
        None => (Begun { id: fresh_id(), args: without_secrets(&args), started: false }, false),
    };
    let id = begun.id.clone();
    // What was asked for first goes on, whatever is asked for now, but for where and how to tell.
    let args = DemoArgs { broker: args.broker, management: args.management, output: args.output, ..begun.args.clone() };
    let judge = Arc::new(Judge::new(Arc::new(SystemClock)));
    let stage = Arc::new(Processes::new(args.clone(), &id, broker.clone(), layout.clone(), url, Arc::clone(&judge)));
    let diary = Diary::in_directory(layout.root());
    if resumes {
        eprintln!("ms2m demo: going on with demo {id}");
        stay(&stage, &diary).await?;
    } else {
        write_json(&file, &begun)?;
        let started = stage.begin().await;
        if let Err(error) = started {
            // Whatever could not be removed either is told by the first error.
            let _ = stage.clear().await;
            let _ = fs::remove_file(&file);
            return Err(error);
        }
        write_json(&file, &Begun { started: true, ..begun })?;
    }
    let listening = listen(broker.0, effects(&id), stage.files());
    let live = Live::new(&args);
    let drawing = live.draw(Arc::clone(&judge));
    let story = Story { args, id, stage: Arc::clone(&stage) as _, judge, diary, cancel, live, tally: Tally::default() };
    let ending = tokio::select! {
        ending = story.tell(teller) => ending,
        () = interrupt::at_once(told) => Err(interrupt::interrupted()),
    };
    drop(drawing);
    listening.abort();
    let cleared = stage.clear().await;
    forget(layout.root());
    let ending = ending?;
    if let Err(error) = cleared {
        eprintln!("ms2m demo: not everything could be removed: {error}");
    }
    Ok(ending)
}

/// Ends what the earlier driver did not come to end, and checks that the rest lives.
async fn stay(stage: &Processes, diary: &Diary) -> Result<()> {
    let Some(progress) = diary.progress()? else { return Ok(()) };
    match &progress.leg {
        Some(leg) => stage.end_consumers_but(&[&leg.source, &leg.copy]).await,
        None => stage.end_consumers_but(&[&progress.owner]).await,
    }
}

/// One driver at a time.
fn lock(layout: &Layout) -> Result<File> {
    let path = layout.root().join("driver.lock");
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| Error::fatal(ErrorKind::Other, "the state directory cannot be used").caused_by(error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => {
            Err(Error::fatal(ErrorKind::AlreadyExists, "another ms2m demo works in this state directory; wait for it, or take another one")
                .with("directory", layout.root().display()))
        }
    }
}

/// Connects once, so that wrong addresses and credentials are said before anything begins. Says whether connections can be cut off.
async fn reach(args: &DemoArgs, url: &str) -> Result<(Arc<dyn Broker>, bool)> {
    let config = RabbitMqConfig::new(url)?;
    let plain: Arc<dyn Broker> = Arc::new(RabbitMq::new(config.clone())?);
    let connection = plain.connect("ms2m-demo-preflight").await?;
    connection.close().await;
    let managed: Arc<dyn Broker> = Arc::new(RabbitMq::new(config.with_management_or_default(args.management.as_deref())?)?);
    // A queue that does not exist is an answer as well.
    match managed.inspect("ms2m.demo.preflight").await {
        Ok(_) | Err(ms2m_broker::LinkError::NotFound(_)) => Ok((managed, true)),
        Err(error) if args.management.is_some() => Err(Error::from(error)),
        Err(error) => {
            tracing::warn!(%error, "no management API: connections cannot be cut off at the broker, a hang of the copy waits for its heartbeat; --management URL says where it is");
            Ok((plain, false))
        }
    }
}

/// URLs hold passwords, and files live long.
fn without_secrets(args: &DemoArgs) -> DemoArgs {
    DemoArgs { broker: None, management: None, state_dir: None, ..args.clone() }
}

/// A name that no other demo on the broker has.
pub(crate) fn fresh_id() -> String {
    format!("{:08x}", rand::random::<u32>())
}

/// The next demo in this directory starts afresh; logs stay for who wants to read them.
fn forget(root: &Path) {
    for name in ["demo.json", "progress.json", "reports.jsonl"] {
        let _ = fs::remove_file(root.join(name));
    }
    for directory in ["snapshots", "moved", "restored", "sent", "migrations"] {
        let _ = fs::remove_dir_all(root.join(directory));
    }
    for (_, process) in super::process::Process::all(&root.join("processes")) {
        let _ = fs::remove_file(process.file());
    }
}
