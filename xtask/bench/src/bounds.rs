//! What nobody can be faster than, in this process.

use ms2m_core::DigestAlgorithm;
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use anyhow::{Result, anyhow, ensure};

pub(crate) const PIECE_BYTES: usize = 512 << 10;

/// One pass of the digest that `ms2m` uses, in one thread.
pub(crate) fn digest(path: &Path) -> Result<()> {
    let (mut file, mut hash, mut piece) = (File::open(path)?, DigestAlgorithm::Sha256.hasher(), vec![0; PIECE_BYTES / 2]);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            bytes => hash.update(&piece[..bytes]),
        }
    }
    black_box(hash.finalize());
    Ok(())
}

/// So many bytes over loopback, with nothing around them.
pub(crate) fn tcp(bytes: u64) -> Result<()> {
    over_loopback(move |mut stream| pour(&mut stream, bytes), move |mut stream| drain(&mut stream, bytes))
}

/// A connection, one side of it in a thread of its own.
pub(crate) fn over_loopback(
    send: impl FnOnce(TcpStream) -> Result<()> + Send + 'static,
    receive: impl FnOnce(TcpStream) -> Result<()>,
) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let sending = thread::spawn(move || send(TcpStream::connect(address)?));
    receive(listener.accept()?.0)?;
    sending.join().map_err(|_| anyhow!("the sending thread has died"))?
}

pub(crate) fn pour(to: &mut impl Write, bytes: u64) -> Result<()> {
    let piece = vec![7; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let step = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        to.write_all(&piece[..step])?;
        left -= step as u64;
    }
    Ok(to.flush()?)
}

pub(crate) fn drain(from: &mut impl Read, bytes: u64) -> Result<()> {
    let (mut piece, mut received) = (vec![0; PIECE_BYTES], 0);
    while received < bytes {
        match from.read(&mut piece)? {
            0 => break,
            step => received += step as u64,
        }
    }
    ensure!(received == bytes, "{received} bytes have arrived instead of {bytes}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_arrive_and_a_loss_is_told() {
        tcp(3 * PIECE_BYTES as u64 + 5).unwrap();
        let lost = over_loopback(|mut stream| pour(&mut stream, 10), |mut stream| drain(&mut stream, 11));
        assert!(lost.unwrap_err().to_string().contains("10 bytes have arrived instead of 11"));
    }
}
