//! One connection through the relay.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::faults::{CutEnd, Direction};
use super::meter::Meter;

const PIECE_BYTES: usize = 64 << 10;
/// Pieces on their way, in each direction of a connection.
const PIECES: usize = 64;
/// How long a closed connection takes what still comes: to close with unread bytes would be a reset.
const LINGER: Duration = Duration::from_secs(1);
/// How often a stalled direction asks again.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// What is done to all connections by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wire {
    pub(super) stopped: bool,
    /// Connections that were open when it grows are reset.
    pub(super) cuts: u64,
}

/// As if the other side had reset the connection: it does so when it is dropped.
pub(super) fn reset(stream: &TcpStream) {
    // Without it the end is orderly; nothing else can be done.
    let _ = stream.set_zero_linger();
}

/// Passes bytes until both sides have ended or the connection is cut.
pub(super) async fn pass(mut client: TcpStream, mut server: TcpStream, mut wire: watch::Receiver<Wire>, meter: &Meter) {
    // Small pieces (handshakes) pass at once.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let cuts = wire.borrow().cuts;
    let mut stops = (wire.clone(), wire.clone());
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(from_client, to_server, Direction::ToServer, meter, &mut stops.0);
        let down = pump(from_server, to_client, Direction::ToClient, meter, &mut stops.1);
        let both = async {
            tokio::pin!(up, down);
            tokio::select! {
                Err(end) = &mut up => Err(end),
                Err(end) = &mut down => Err(end),
                else => Ok(()),
            }
        };
        tokio::select! {
            end = both => end,
            // Also when the relay has gone.
            _ = wire.wait_for(|wire| wire.cuts != cuts) => Err(CutEnd::Reset),
        }
    };
    match end {
        Ok(()) => {}
        Err(CutEnd::Reset) => {
            reset(&client);
            reset(&server);
        }
        Err(CutEnd::Close) => {
            tokio::join!(close(&mut client), close(&mut server));
        }
    }
}

async fn close(stream: &mut TcpStream) {
    if stream.shutdown().await.is_ok() {
        let _ = timeout(LINGER, tokio::io::copy(stream, &mut tokio::io::sink())).await;
    }
}

/// One direction, until its end is passed on too.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    meter: &Meter,
    wire: &mut watch::Receiver<Wire>,
) -> Result<(), CutEnd> {
    let (sender, mut on_its_way) = mpsc::channel::<(Instant, Bytes, Option<CutEnd>)>(PIECES);
    let read = async move {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE_BYTES);
            // A side that has reset its connection resets the other.
            if from.read_buf(&mut piece).await.map_err(|_| CutEnd::Reset)? == 0 {
                return Ok(());
            }
            while !piece.is_empty() {
                let admitted = meter.admit(direction, piece.len());
                if admitted.stalled {
                    sleep(ASK_AGAIN).await;
                    continue;
                }
                let passes = piece.split_to(admitted.bytes).freeze();
                if sender.send((admitted.due, passes, admitted.cut)).await.is_err() {
                    return Ok(());
                }
                if admitted.cut.is_some() {
                    // The writer ends the connection when it gets there.
                    return std::future::pending().await;
                }
            }
        }
    };
    let write = async move {
        while let Some((due, piece, cut)) = on_its_way.recv().await {
            sleep_until(due).await;
            // A relay that has gone cuts by other means.
            let _ = wire.wait_for(|wire| !wire.stopped).await;
            to.write_all(&piece).await.map_err(|_| CutEnd::Reset)?;
            if let Some(end) = cut {
                return Err(end);
            }
        }
        to.shutdown().await.map_err(|_| CutEnd::Reset)
    };
    tokio::try_join!(read, write).map(|_| ())
}
