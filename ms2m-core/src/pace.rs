//! [`paced`]: a limit on how fast bytes pass.

use std::num::NonZeroU64;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use tokio::time::{Instant, sleep_until};

use crate::bytes_stream::ByteStream;

/// Lets at most so many bytes per second pass, on average since the first piece: a slow start does not count, and a piece is
/// held back until its time has come.
///
/// Backends pull their bodies, so whoever gives them a paced one limits what goes over the wire.
#[must_use]
pub fn paced(body: ByteStream, bytes_per_s: NonZeroU64) -> ByteStream {
    Box::pin(unfold((body, None, 0_u64), move |(mut body, started, passed)| async move {
        let piece = body.next().await?;
        let started: Instant = started.unwrap_or_else(Instant::now);
        let passed = passed + piece.as_ref().map_or(0, |piece| piece.len() as u64);
        sleep_until(started + time_for(passed, bytes_per_s)).await;
        Some((piece, (body, Some(started), passed)))
    }))
}

fn time_for(bytes: u64, bytes_per_s: NonZeroU64) -> Duration {
    let micros = u128::from(bytes) * 1_000_000 / u128::from(bytes_per_s.get());
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_at_the_rate_whatever_their_pieces() {
        for pieces in [1_usize, 10, 1000] {
            let piece = Bytes::from(vec![7; 1_000_000 / pieces]);
            let body: ByteStream = Box::pin(stream::repeat_with(move || Ok(piece.clone())).take(pieces));
            let begun = Instant::now();
            let passed: usize =
                paced(body, NonZeroU64::new(250_000).unwrap()).map(|piece| piece.unwrap().len()).fold(0, async |all, one| all + one).await;
            assert_eq!(passed, 1_000_000);
            assert_eq!(begun.elapsed().as_millis(), 4000, "{pieces} pieces");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_before_the_first_piece_gives_no_credit() {
        let late = stream::once(async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(Bytes::from(vec![7; 1000]))
        });
        let begun = Instant::now();
        let _ = paced(Box::pin(late), NonZeroU64::new(1000).unwrap()).collect::<Vec<_>>().await;
        assert_eq!(begun.elapsed().as_millis(), 6000);
    }
}
