//! Consumers over the in-memory broker, alone and in migrations, under simulated time.

mod alone;
mod chaos;
mod driven;
mod failures;
mod hand_over;
mod plain;
mod snapshots;
mod support;
