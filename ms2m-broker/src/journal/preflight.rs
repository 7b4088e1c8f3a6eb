//! What can be known to be wrong before anything is asked of the source.

use ms2m_core::{Error, ErrorKind, Result};

use super::options::JournalOptions;
use crate::link::{Broker, Connection, LinkError, QueueKind};

/// Arguments and policy keys under which "what one uninterrupted consumer would have" is not defined by the order of the queue.
const REFUSED_ARGUMENTS: [(&str, &str); 2] =
    [("max-priority", "messages overtake each other by priority"), ("delayed-retry", "returned messages come back later")];

/// Refuses what cannot be handed over exactly.
///
/// # Errors
/// With what to change.
pub(super) async fn preflight(broker: &dyn Broker, connection: &dyn Connection, queue: &str, options: &JournalOptions) -> Result<()> {
    let Some(status) = connection.queue_status(queue).await? else {
        return Err(Error::from(LinkError::NotFound(queue.into())));
    };
    // A stream tells no consumers by this way.
    if options.queue_kind != QueueKind::Stream && status.consumers != 1 {
        let text = match status.consumers {
            0 => "nobody consumes the queue, so there is nothing to migrate: start the consumer first".to_owned(),
            n => format!(
                "{n} consumers share the queue, so no single one has its state: scale to one consumer, or migrate each on a queue of its own"
            ),
        };
        // It may be reconnecting just now, and the broker may count its last connection for a moment longer.
        let kind = if status.consumers == 0 { ErrorKind::NotFound } else { ErrorKind::Unsupported };
        return Err(Error::retry(kind, text).with("queue", queue));
    }
    let facts = match broker.inspect(queue).await {
        Ok(Some(facts)) => facts,
        // No management API, or not for us: the given options have to be right, and run-time checks guard them.
        Ok(None) | Err(LinkError::Unavailable(_) | LinkError::Unauthorized(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if facts.kind != options.queue_kind || facts.single_active_consumer != options.single_active_consumer {
        let text = format!(
            "the queue is {:?} (single active consumer: {}), the migration was asked for {:?} ({}): correct the request",
            facts.kind, facts.single_active_consumer, options.queue_kind, options.single_active_consumer
        );
        return Err(Error::fatal(ErrorKind::Invalid, text).with("queue", queue));
    }
    for (name, why) in REFUSED_ARGUMENTS {
        if facts.arguments.iter().any(|argument| argument.trim_start_matches("x-") == name) {
            let text = format!("the queue has {name}: {why}, so an exact hand-over is not possible");
            return Err(Error::fatal(ErrorKind::Unsupported, text).with("queue", queue));
        }
    }
    Ok(())
}
