//! From the command line to the exit status.

use std::io;
use std::sync::Arc;

use ms2m_broker::Broker;
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_core::{Cancel, Outcome, Result};
use ms2m_testkit::{MemoryBroker, Profile};
use tokio::runtime::Builder;
use tokio::sync::watch;

use super::args::{DemoArgs, Output};
use super::diary::Diary;
use super::embedded::{Embedded, clocks};
use super::faults::Tally;
use super::judge::Judge;
use super::mirror::{Fabric, MirrorStage, RabbitFabric};
use super::output::{Ending, Json, Live, Teller, Text};
use super::processes;
use super::story::Story;
use crate::exit::Exit;
use crate::interrupt;

/// The in-memory broker belongs to one demo.
const EMBEDDED_ID: &str = "1";
/// How often a queue bound later gets two publishers' messages in another order (RabbitMQ: 0.003).
const FANOUT_INVERSION: f64 = 0.003;

/// Runs a demo.
pub(crate) fn run(args: DemoArgs) -> Exit {
    if let Err(text) = args.check() {
        eprintln!("ms2m demo: {text}");
        return Exit::BadUsage;
    }
    let simulated = args.is_simulated();
    let mut builder = if args.broker.is_some() { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let runtime = match builder.enable_all().start_paused(simulated).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ms2m demo: no runtime: {error}");
            return Exit::Failed;
        }
    };
    let mut teller: Box<dyn Teller> = match args.output {
        Output::Json => Box::new(Json::new(io::stdout())),
        Output::Text => Box::new(Text::new(io::stdout(), args.clone())),
    };
    let has_faults = args.has_faults();
    match runtime.block_on(play(args, &mut *teller)) {
        Ok(ending) => {
            if let Err(error) = teller.finish(&ending) {
                eprintln!("ms2m demo: the result cannot be printed: {error}");
                return Exit::Failed;
            }
            exit(&ending, has_faults)
        }
        Err(error) => {
            eprintln!("ms2m demo: {error}");
            Exit::Failed
        }
    }
}

async fn play(args: DemoArgs, teller: &mut dyn Teller) -> Result<Ending> {
    let cancel = Cancel::new();
    let told = interrupt::listen(cancel.clone());
    if args.is_mirror() {
        return mirror(args, teller, cancel, told).await;
    }
    if args.broker.is_some() {
        return processes::play(args, teller, cancel, told).await;
    }
    let id = EMBEDDED_ID.to_owned();
    let clocks = clocks(args.is_simulated());
    let judge = Arc::new(Judge::new(Arc::clone(&clocks.0)));
    let stage = Arc::new(Embedded::open(args.clone(), &id, Arc::clone(&judge), clocks).await?);
    let live = Live::new(&args);
    let _drawing = live.draw(Arc::clone(&judge));
    let story = Story { args, id, stage: Arc::clone(&stage) as _, judge, diary: Diary::nowhere(), cancel, live, tally: Tally::default() };
    tokio::select! {
        ending = story.tell(teller) => {
            stage.shut().await;
            ending
        }
        () = interrupt::at_once(told) => Err(interrupt::interrupted()),
    }
}

/// The negative control, on the in-memory broker or a real one; consumers and publishers are tasks of this process.
async fn mirror(args: DemoArgs, teller: &mut dyn Teller, cancel: Cancel, told: watch::Receiver<bool>) -> Result<Ending> {
    let (clock, _) = clocks(args.is_simulated());
    let (id, broker, fabric): (String, Arc<dyn Broker>, Arc<dyn Fabric>) = match &args.broker {
        Some(url) => {
            let broker = RabbitMq::new(RabbitMqConfig::new(url)?)?;
            // Before anything else, for its error texts.
            broker.connect("ms2m-demo-preflight").await?.close().await;
            (processes::fresh_id(), Arc::new(broker), Arc::new(RabbitFabric::connect(url).await?))
        }
        None => {
            let broker = MemoryBroker::new(Profile::rabbitmq());
            broker.set_faults(|faults| faults.fanout_inversion = FANOUT_INVERSION);
            (EMBEDDED_ID.to_owned(), Arc::new(broker.clone()), Arc::new(broker))
        }
    };
    let judge = Arc::new(Judge::new(Arc::clone(&clock)));
    let stage = Arc::new(MirrorStage::open(&args, &id, broker, fabric, clock, Arc::clone(&judge)).await?);
    let live = Live::new(&args);
    let _drawing = live.draw(Arc::clone(&judge));
    let story = Story { args, id, stage: Arc::clone(&stage) as _, judge, diary: Diary::nowhere(), cancel, live, tally: Tally::default() };
    let ending = tokio::select! {
        ending = story.tell(teller) => ending,
        () = interrupt::at_once(told) => Err(interrupt::interrupted()),
    };
    let shut = stage.shut().await;
    let ending = ending?;
    shut.map(|()| ending)
}

/// With faults roll-backs are expected, and what counts is that all is exact. Without, the last migration decides.
fn exit(ending: &Ending, has_faults: bool) -> Exit {
    match ending.last {
        // Nothing was to be proven: it was interrupted before the first migration.
        None if ending.trouble.is_none() => Exit::RolledBack,
        None => Exit::Failed,
        Some(_) if !ending.summary.exact => Exit::NotExact,
        Some(Outcome::Completed) => Exit::Done,
        Some(Outcome::Cancelled) => Exit::RolledBack,
        Some(_) if has_faults => Exit::Done,
        Some(Outcome::RolledBack) => Exit::RolledBack,
        Some(Outcome::Failed) => Exit::Failed,
    }
}
