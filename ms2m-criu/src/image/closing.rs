//! Sockets of a checkpoint that are made closed ones before it is restored.
//!
//! CRIU's own option for that, `tcp-close`, is about all of them. A socket that its image says is closed comes up as that option would
//! have it: new, of the same kind and with the same options, neither bound nor connected.

use std::collections::BTreeSet;

use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};

use super::frame::{Entries, Magic};
use super::messages::FileEntry;
use super::{ImageError, InetSocket, Result};

const IMAGE: &str = "files.img";
/// `isk` of `file_entry`.
const SOCKET: u32 = 4;
/// Fields of `inet_sk_entry`.
const STATE: u32 = 6;
const SOURCE_PORT: u32 = 7;
const DESTINATION_PORT: u32 = 8;
const SHUTDOWN: u32 = 19;
/// TCP's closed state, as the kernel numbers it; UDP has it as well.
const CLOSED: u64 = 7;

/// A socket in `files.img`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Socket {
    /// The number of its entry.
    pub(crate) entry: u32,
    /// What the image of its stream is called by.
    pub(crate) inode: u32,
    /// What it is.
    pub(crate) socket: InetSocket,
}

/// The internet sockets in `files.img`.
pub(crate) fn sockets(image: &[u8]) -> Result<Vec<Socket>> {
    let mut found = Vec::new();
    for entry in Entries::new(IMAGE, Magic::Files, image)?.decoded::<FileEntry>() {
        let entry = entry?;
        if let Some(socket) = &entry.isk {
            found.push(Socket { entry: entry.id, inode: socket.inode, socket: InetSocket::of(IMAGE, socket)? });
        }
    }
    Ok(found)
}

/// `files.img` with these of its sockets closed. Everything else stays as it is, to the last byte.
pub(crate) fn close(image: &[u8], entries: &BTreeSet<u32>) -> Result<Vec<u8>> {
    let mut closed = image[..image.len().min(8)].to_vec();
    for entry in Entries::new(IMAGE, Magic::Files, image)? {
        let entry = entry?;
        let decoded: FileEntry = super::frame::decode(IMAGE, entry)?;
        let entry = if entries.contains(&decoded.id) && decoded.isk.is_some() { file(entry)? } else { entry.to_vec() };
        super::frame::push(IMAGE, &entry, &mut closed)?;
    }
    Ok(closed)
}

fn file(entry: &[u8]) -> Result<Vec<u8>> {
    edited(entry, |tag, value, out| match (tag, value) {
        (SOCKET, Value::Bytes(bytes)) => {
            let bytes = socket(bytes)?;
            encode_key(tag, WireType::LengthDelimited, out);
            encode_varint(bytes.len() as u64, out);
            out.extend_from_slice(&bytes);
            Ok(true)
        }
        _ => Ok(false),
    })
}

fn socket(entry: &[u8]) -> Result<Vec<u8>> {
    edited(entry, |tag, _, out| {
        let number = match tag {
            STATE => CLOSED,
            SOURCE_PORT | DESTINATION_PORT => 0,
            // What is not connected cannot be shut down.
            SHUTDOWN => return Ok(true),
            _ => return Ok(false),
        };
        encode_key(tag, WireType::Varint, out);
        encode_varint(number, out);
        Ok(true)
    })
}

enum Value<'a> {
    Bytes(&'a [u8]),
    Other,
}

/// A message whose fields are copied, unless `edit` says that it has put something else in a field's place.
fn edited(message: &[u8], edit: impl Fn(u32, Value<'_>, &mut Vec<u8>) -> Result<bool>) -> Result<Vec<u8>> {
    let malformed = |error: prost::DecodeError| ImageError::malformed(IMAGE, error.to_string());
    let (mut out, mut rest) = (Vec::with_capacity(message.len()), message);
    while rest.has_remaining() {
        let field = rest;
        let (tag, kind) = decode_key(&mut rest).map_err(malformed)?;
        let mut value = rest;
        skip_field(kind, tag, &mut rest, DecodeContext::default()).map_err(malformed)?;
        let value = if kind == WireType::LengthDelimited {
            decode_varint(&mut value).map_err(malformed)?;
            Value::Bytes(&value[..value.len() - rest.len()])
        } else {
            Value::Other
        };
        if !edit(tag, value, &mut out)? {
            out.extend_from_slice(&field[..field.len() - rest.len()]);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::super::messages::InetEntry;
    use super::super::{TcpState, Transport};
    use super::*;

    fn entry(id: u32, state: u32) -> Vec<u8> {
        let address = u32::from_le_bytes([127, 0, 0, 1]);
        let socket = InetEntry {
            inode: 77,
            family: 2,
            kind: 1,
            protocol: 6,
            state,
            src_port: 80,
            dst_port: 4000,
            src_addr: vec![address],
            dst_addr: vec![address],
            options: None,
        };
        let mut socket = socket.encode_to_vec();
        // Fields that are not declared here: `ifname`, and `shutdown`.
        socket.extend_from_slice(&[0x8a, 0x01, 2, b'l', b'o', 0x98, 0x01, 1]);
        let mut entry = FileEntry { kind: 2, id, ..FileEntry::default() }.encode_to_vec();
        encode_key(SOCKET, WireType::LengthDelimited, &mut entry);
        encode_varint(socket.len() as u64, &mut entry);
        entry.extend_from_slice(&socket);
        entry
    }

    fn image(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut image = [0x5456_4319_u32, 0x5630_3138].map(u32::to_le_bytes).concat();
        entries.iter().for_each(|entry| crate::image::frame::push(IMAGE, entry, &mut image).unwrap());
        image
    }

    #[test]
    fn only_what_is_named_is_closed() {
        let regular = FileEntry { kind: 1, id: 9, ..FileEntry::default() }.encode_to_vec();
        let before = image(&[entry(1, 1), regular, entry(2, 1)]);
        assert_eq!(close(&before, &BTreeSet::new()).unwrap(), before);
        let after = close(&before, &BTreeSet::from([2, 9])).unwrap();
        let found = sockets(&after).unwrap();
        assert_eq!(found[0], sockets(&before).unwrap()[0]);
        let Socket { entry: id, inode, socket: closed } = &found[1];
        assert_eq!((*id, *inode), (2, 77));
        assert_eq!((closed.transport, closed.state), (Transport::Tcp, TcpState::Close));
        assert_eq!((closed.local.port(), closed.peer.port()), (0, 0));
        // Again changes nothing.
        assert_eq!(close(&after, &BTreeSet::from([2, 9])).unwrap(), after);
    }

    #[test]
    fn what_is_not_declared_stays_and_a_shutdown_goes() {
        let after = close(&image(&[entry(1, 1)]), &BTreeSet::from([1])).unwrap();
        let holds = |bytes: &[u8]| after.windows(bytes.len()).any(|window| window == bytes);
        assert!(holds(&[0x8a, 0x01, 2, b'l', b'o']));
        assert!(!holds(&[0x98, 0x01, 1]));
    }

    #[test]
    fn malformed_images_are_errors() {
        let good = image(&[entry(1, 1)]);
        for length in 0..good.len() {
            let whole = length == 8;
            assert_eq!(close(&good[..length], &BTreeSet::from([1])).is_ok(), whole, "{length}");
        }
    }
}
