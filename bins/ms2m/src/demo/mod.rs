//! `ms2m demo`: a stateful consumer moves while publishers go on, and an auditor looks on.

mod args;
mod diary;
mod durable;
mod embedded;
mod faults;
mod handler;
mod judge;
mod leg;
mod limits;
mod mirror;
mod output;
pub(crate) mod processes;
mod run;
mod stage;
mod story;
mod workload;

pub(crate) use args::{DemoArgs, Mode, Output, QueueType};
pub(crate) use run::run;
