//! Ctrl-C and SIGTERM: the first turns the migration under way round, the second ends at once.

use ms2m_core::{Cancel, Error, ErrorKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Cancels at the first signal; turns the returned value true at the second.
pub(crate) fn listen(cancel: Cancel) -> watch::Receiver<bool> {
    listen_and_say(cancel, "rolling back and ending; once more to end at once")
}

/// The same, where the first signal means something else, which is said.
pub(crate) fn listen_and_say(cancel: Cancel, first: &'static str) -> watch::Receiver<bool> {
    let (at_once, told) = watch::channel(false);
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else { return };
        for count in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if count == 0 {
                eprintln!("ms2m: {first}");
                cancel.cancel("interrupted");
            } else {
                at_once.send_replace(true);
            }
        }
    });
    told
}

/// Waits for the second signal.
pub(crate) async fn at_once(mut told: watch::Receiver<bool>) {
    if told.wait_for(|told| *told).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Of a second signal.
pub(crate) fn interrupted() -> Error {
    Error::fatal(ErrorKind::Cancelled, "interrupted")
}
