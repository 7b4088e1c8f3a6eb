//! A message as consumers, journals and digests see it, whatever the broker.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Header that names the publisher. With [`SEQUENCE_HEADER`] it identifies a message that has no `message_id`.
pub const PUBLISHER_HEADER: &str = "ms2m-publisher";
/// Header with the publisher's own count of its messages.
pub const SEQUENCE_HEADER: &str = "ms2m-seq";
/// Header with the time of publishing, in microseconds since the Unix epoch. Only used to tell waiting from being served late.
pub const PUBLISHED_AT_HEADER: &str = "ms2m-published-at-us";

/// One message: everything a handler may look at, and so everything a journal record must carry.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Message {
    /// What the publisher said about it.
    pub properties: Properties,
    /// What it said.
    pub body: Bytes,
}

/// The AMQP 0-9-1 basic properties, and where the message was published to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Properties {
    /// The exchange; empty for the default one.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// Application's id of the message: its key if present.
    pub message_id: Option<String>,
    /// Application's id of what it answers.
    pub correlation_id: Option<String>,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// MIME type of the body.
    pub content_type: Option<String>,
    /// MIME encoding of the body.
    pub content_encoding: Option<String>,
    /// Application's name of the kind of message (`type` in AMQP).
    pub kind: Option<String>,
    /// Publishing application.
    pub app_id: Option<String>,
    /// Publishing user, checked by the broker.
    pub user_id: Option<String>,
    /// Time to live, in milliseconds as text.
    pub expiration: Option<String>,
    /// 1 transient, 2 persistent.
    pub delivery_mode: Option<u8>,
    /// Queue priority.
    pub priority: Option<u8>,
    /// Seconds since the Unix epoch, as the publisher set it.
    pub timestamp_s: Option<u64>,
    /// Headers in the broker's order.
    pub headers: Vec<(String, Value)>,
}

impl Properties {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Value> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value)
    }
}

/// A header's value. Brokers drop nested values on streams, which is why journal records carry whole messages in their body.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Value {
    /// No value.
    Void,
    /// A truth value.
    Bool(bool),
    /// Any integer type.
    Int(i64),
    /// A floating point number, by its bits, so that equality and hashing are exact.
    FloatBits(u64),
    /// A decimal number: scale and value.
    Decimal(u8, u32),
    /// Text.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// Seconds since the Unix epoch.
    TimestampS(u64),
    /// A list.
    List(Vec<Value>),
    /// A table.
    Table(Vec<(String, Value)>),
}

impl Value {
    /// As a non-negative integer, from an integer or decimal text.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(value) => u64::try_from(*value).ok(),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn encoded_bytes(&self) -> usize {
        12 + match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(values) => values.iter().map(Self::encoded_bytes).sum(),
            Self::Table(entries) => entries.iter().map(|(name, value)| name.len() + 8 + value.encoded_bytes()).sum(),
            Self::Void | Self::Bool(_) | Self::Int(_) | Self::FloatBits(_) | Self::Decimal(..) | Self::TimestampS(_) => 0,
        }
    }

    /// As text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// What a message is recognised by when the broker delivers it again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MessageKey {
    unique: bool,
    hash: [u8; 16],
}

impl MessageKey {
    /// Whether the publisher made it unique (`message_id`, or publisher and sequence headers). Otherwise it is a hash of
    /// the content, and runs of identical messages are at-least-once after a crash.
    #[must_use]
    pub const fn is_unique(&self) -> bool {
        self.unique
    }

    /// The key as bytes, for digests.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.hash
    }

    fn from_hash(unique: bool, hash: Sha256) -> Self {
        let digest: [u8; 32] = hash.finalize().into();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Self { unique, hash: short }
    }
}

impl fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:02x}{:02x}", if self.unique { "" } else { "~" }, self.hash[0], self.hash[1])
    }
}

impl Message {
    /// The key: `message_id`, else publisher and sequence, else 128 bits of a hash over properties and body.
    #[must_use]
    pub fn key(&self) -> MessageKey {
        let properties = &self.properties;
        if let Some(id) = &properties.message_id {
            return MessageKey::from_hash(true, Sha256::new_with_prefix(b"id\0").chain_update(id));
        }
        let publisher = properties.header(PUBLISHER_HEADER).and_then(Value::as_text);
        let sequence = properties.header(SEQUENCE_HEADER).and_then(Value::as_u64);
        if let (Some(publisher), Some(sequence)) = (publisher, sequence) {
            let hash = Sha256::new_with_prefix(b"seq\0").chain_update(sequence.to_be_bytes()).chain_update(publisher);
            return MessageKey::from_hash(true, hash);
        }
        // Brokers add headers of their own at a redelivery; identity must not depend on them.
        let mut identity = properties.clone();
        identity
            .headers
            .retain(|(name, _)| !matches!(name.as_str(), "x-delivery-count" | "x-acquired-count" | "x-death" | "x-stream-offset"));
        let encoded = postcard::to_stdvec(&identity).unwrap_or_default();
        MessageKey::from_hash(false, Sha256::new_with_prefix(b"content\0").chain_update(encoded).chain_update(&self.body))
    }

    /// An upper bound of its size in a journal record, in bytes, without encoding it.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        let p = &self.properties;
        let texts = [&p.message_id, &p.correlation_id, &p.reply_to, &p.content_type, &p.content_encoding, &p.kind, &p.app_id, &p.user_id];
        let text_bytes: usize = texts.into_iter().flatten().chain([&p.exchange, &p.routing_key]).map(String::len).sum();
        let header_bytes: usize = p.headers.iter().map(|(name, value)| name.len() + value.encoded_bytes() + 8).sum();
        // Lengths, option marks and the fixed-size properties take less than this.
        self.body.len() + text_bytes + header_bytes + p.expiration.as_ref().map_or(0, String::len) + 96
    }

    /// When it was published, if its publisher says so, in microseconds since the Unix epoch.
    #[must_use]
    pub fn published_at_us(&self) -> Option<u64> {
        self.properties.header(PUBLISHED_AT_HEADER).and_then(Value::as_u64)
    }
}
