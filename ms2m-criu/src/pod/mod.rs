//! Copies in pods: a container engine makes the container, and its OCI runtime restores it instead of starting it.
//!
//! ```text
//! kubelet ─ create ─► containerd ─► ms2m-runtime create ── hello ──► agent (Gate)
//!                                        │  waits                      │ a round arrives
//!                                        ◄────────── launch ───────────┤
//!                   runc restore, which waits for its CRIU             │ the checkpoint arrives, is unpacked and checked
//!                                        ◄────────── restore ──────────┘ PodTarget
//!                                       CRIU
//!                                        ─────────── restored ─────────►
//! ```
//!
//! - [`PodTarget`] is the [`RestoreTarget`](ms2m_core::RestoreTarget) of the node's agent, [`Gate`] where it meets the waiting runtimes.
//! - [`wait`] and [`GivenBundle`] are the runtime's side.
//! - A container that was restored is marked in its pod's directory once the migration is over for it: from then on its pod's
//!   containers are created as usual, so that a crash restarts the application's own image.

mod bundle;
mod gate;
mod leftovers;
mod record;
mod target;
mod waiter;
mod wire;

pub use bundle::{GivenBundle, was_restored};
pub use gate::Gate;
pub use leftovers::{remove_abandoned, remove_leftovers};
pub use target::{Copy, PodTarget, forget_ended};
pub use waiter::{SOCKET, WAIT_MAX, wait};
pub use wire::{Hello, Order, Outcome};
