//! The process under measurement: the operator with drivers that only take their time.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Write as _, stdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use ms2m_k8s::{Operator, OperatorObserver};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

use super::client::{Requests, counted};
use super::drivers::Simulated;
use crate::args::Operate;
use crate::measure::peak_bytes;

/// What it took.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    peak_bytes: u64,
    processor_s: f64,
    /// Each look at a resource, in order.
    reconciles_us: Vec<u32>,
    failed: usize,
    running_max: usize,
    requests: BTreeMap<String, u64>,
}

/// Runs until its input ends, and says then what it took.
pub(crate) fn run(args: &Operate) -> Result<()> {
    // As ms2m-controller does.
    let runtime = tokio::runtime::Runtime::new()?;
    let (looks, requests) = (Arc::new(Looks::default()), Requests::default());
    runtime.block_on(async {
        let client = counted(&requests).await?;
        let operator = Operator::new(client.clone(), Arc::new(Simulated::new(client)));
        let operator = operator.with_operator_observer(Arc::clone(&looks) as _).with_migrations_max(args.migrations_max);
        operator.run(async { drop(tokio::io::stdin().read_to_end(&mut Vec::new()).await) }).await;
        anyhow::Ok(())
    })?;
    let kept = looks.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut reconciles_us = kept.reconciles_us.clone();
    reconciles_us.sort_unstable();
    let told = Told {
        peak_bytes: peak_bytes(std::process::id()).unwrap_or_default(),
        processor_s: processor().as_secs_f64(),
        reconciles_us,
        failed: kept.failed,
        running_max: kept.running_max,
        requests: requests.lock().unwrap_or_else(PoisonError::into_inner).clone(),
    };
    Ok(writeln!(stdout(), "{}", serde_json::to_string(&told)?)?)
}

/// What this process has had of the processor.
fn processor() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::from_secs(used.tv_sec.unsigned_abs()) + Duration::from_nanos(used.tv_nsec.unsigned_abs())
}

#[derive(Debug, Default)]
struct Looks(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    reconciles_us: Vec<u32>,
    failed: usize,
    running_max: usize,
}

impl OperatorObserver for Looks {
    fn on_reconcile(&self, took: Duration, failed: bool) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.reconciles_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        kept.failed += usize::from(failed);
    }

    fn on_running(&self, migrations: usize) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.running_max = kept.running_max.max(migrations);
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |per_mille: usize| {
            let at = (self.reconciles_us.len() * per_mille).div_ceil(1000).saturating_sub(1);
            f64::from(self.reconciles_us.get(at).copied().unwrap_or_default()) / 1000.0
        };
        let peak_mib = self.peak_bytes as f64 / f64::from(1 << 20);
        writeln!(f, "peak memory {peak_mib:.1} MiB, processor {:.1} s, at most {} at once", self.processor_s, self.running_max)?;
        let count = self.reconciles_us.len();
        let figures = format!("p50 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2} ms", ms(500), ms(990), ms(999), ms(1000));
        writeln!(f, "  reconciles: {count}, {} of them tried again; {figures}", self.failed)?;
        write!(f, "  requests: {}", self.requests.values().sum::<u64>())?;
        self.requests.iter().try_for_each(|(what, number)| write!(f, "\n    {what}: {number}"))
    }
}
