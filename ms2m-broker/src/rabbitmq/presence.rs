//! Whether a connection of a name is there, from the broker itself.
//!
//! The management API finds a connection by name and cuts it off within milliseconds, but lists new connections up to 5 s late
//! and answers 204 for ones long gone. So each connection also holds an exclusive queue named after it. RabbitMQ deletes that
//! queue with the connection, after its channels have ended and before a forced close is answered (`rabbit_reader:terminate/2`),
//! and tells at once: 405 as long as it is held, 404 when nobody holds it. Names need not be unique (a client that comes back
//! before the broker noticed its loss), hence several slots.
//!
//! Users need the permission to configure queues `ms2m.connection.*`.

use std::time::{Duration, Instant};

use futures_util::future::join;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::time::sleep;

use super::config::RabbitMqConfig;
use super::connection::RabbitConnection;
use super::management::Management;
use crate::link::{Connection as _, LinkError, LinkResult};

/// Connections of one name at a time: one, and those that the broker has not let go of yet.
const SLOTS: usize = 8;
/// The management API's delay in listing a new connection (its statistics interval), and time to spare.
const FENCE_DEADLINE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(25);

/// Makes a connection findable.
pub(super) async fn mark(connection: &RabbitConnection, name: &str) -> LinkResult<()> {
    for slot in 0..SLOTS {
        let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
        match connection.declare_as(&mark_name(name, slot), exclusive, FieldTable::default()).await {
            Err(LinkError::Refused(_)) => {}
            marked => return marked,
        }
    }
    // Not for ever: the broker lets them go in time.
    Err(LinkError::Unavailable(format!("there are {SLOTS} connections named {name:?} already")))
}

/// Cuts all connections of that name off, and returns when none is left.
pub(super) async fn fence(management: &Management, config: &RabbitMqConfig, name: &str) -> LinkResult<()> {
    let deadline = Instant::now() + FENCE_DEADLINE;
    // Cutting off does not wait for the looker to connect.
    let (cut, looker) = join(management.cut(name), RabbitConnection::open(config, "ms2m.fence")).await;
    cut?;
    let looker = looker?;
    let fenced = loop {
        match is_present(&looker, name).await {
            Ok(false) => break Ok(()),
            Ok(true) if Instant::now() > deadline => {
                break Err(LinkError::Unavailable(format!("the management API finds no way to end the connection {name:?}")));
            }
            // Not listed yet.
            Ok(true) => sleep(PAUSE).await,
            Err(error) => break Err(error),
        }
        if let Err(error) = management.cut(name).await {
            break Err(error);
        }
    };
    looker.close().await;
    fenced
}

async fn is_present(looker: &RabbitConnection, name: &str) -> LinkResult<bool> {
    for slot in 0..SLOTS {
        match looker.queue_status(&mark_name(name, slot)).await {
            Ok(None) => {}
            // 405: held by a connection that is not ours.
            Ok(Some(_)) | Err(LinkError::Refused(_)) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn mark_name(name: &str, slot: usize) -> String {
    format!("ms2m.connection.{name}.{slot}")
}
