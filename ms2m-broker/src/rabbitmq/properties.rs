//! Messages between lapin's types and ours.
//!
//! Nothing is lost on the way to RabbitMQ and back but what AMQP itself cannot keep apart: header tables are kept sorted by
//! name and without repeated names (lapin parses them into a map), and integers and floats of any width become 64 bits wide.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, ShortString};

use crate::link::{Delivery, LinkError, LinkResult};
use crate::message::{Message, Properties, Value};

/// RabbitMQ's header with the position in a log.
const OFFSET_HEADER: &str = "x-stream-offset";
/// Survives a restart of the broker, in a durable queue.
const PERSISTENT: u8 = 2;

/// One of the setters of lapin's properties.
type WithText = fn(BasicProperties, ShortString) -> BasicProperties;

/// A short string, which lapin's own conversion would panic on when it is longer than 255 bytes.
pub(super) fn short(text: &str) -> LinkResult<ShortString> {
    ShortString::try_new(text).map_err(|error| LinkError::Refused(error.to_string()))
}

/// A delivery; the body is moved.
pub(super) fn received(delivery: lapin::message::Delivery) -> Delivery {
    let properties = from_amqp(delivery.exchange, delivery.routing_key, &delivery.properties);
    let offset = properties.header(OFFSET_HEADER).and_then(Value::as_u64);
    let message = Message { properties, body: Bytes::from(delivery.data) };
    Delivery { tag: delivery.delivery_tag, offset, redelivered: delivery.redelivered, message }
}

/// Where a message was published to is not a property of it: that goes into the method frame.
pub(super) fn to_amqp(properties: &Properties) -> LinkResult<BasicProperties> {
    // Whatever the message said: a journal must survive the broker's restart.
    let mut amqp = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let texts: [(&Option<String>, WithText); 9] = [
        (&properties.message_id, BasicProperties::with_message_id),
        (&properties.correlation_id, BasicProperties::with_correlation_id),
        (&properties.reply_to, BasicProperties::with_reply_to),
        (&properties.content_type, BasicProperties::with_content_type),
        (&properties.content_encoding, BasicProperties::with_content_encoding),
        (&properties.kind, BasicProperties::with_type),
        (&properties.app_id, BasicProperties::with_app_id),
        (&properties.user_id, BasicProperties::with_user_id),
        (&properties.expiration, BasicProperties::with_expiration),
    ];
    for (text, with) in texts {
        if let Some(text) = text {
            amqp = with(amqp, short(text)?);
        }
    }
    if let Some(priority) = properties.priority {
        amqp = amqp.with_priority(priority);
    }
    if let Some(seconds) = properties.timestamp_s {
        amqp = amqp.with_timestamp(seconds);
    }
    if !properties.headers.is_empty() {
        amqp = amqp.with_headers(to_table(&properties.headers)?);
    }
    Ok(amqp)
}

fn from_amqp(exchange: ShortString, routing_key: ShortString, amqp: &BasicProperties) -> Properties {
    let text = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().to_owned());
    Properties {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        message_id: text(amqp.message_id()),
        correlation_id: text(amqp.correlation_id()),
        reply_to: text(amqp.reply_to()),
        content_type: text(amqp.content_type()),
        content_encoding: text(amqp.content_encoding()),
        kind: text(amqp.kind()),
        app_id: text(amqp.app_id()),
        user_id: text(amqp.user_id()),
        expiration: text(amqp.expiration()),
        delivery_mode: *amqp.delivery_mode(),
        priority: *amqp.priority(),
        timestamp_s: *amqp.timestamp(),
        headers: amqp.headers().as_ref().map(from_table).unwrap_or_default(),
    }
}

fn to_table(entries: &[(String, Value)]) -> LinkResult<FieldTable> {
    let entries: LinkResult<BTreeMap<_, _>> = entries.iter().map(|(name, value)| Ok((short(name)?, to_value(value)?))).collect();
    entries.map(FieldTable::from)
}

fn from_table(table: &FieldTable) -> Vec<(String, Value)> {
    table.into_iter().map(|(name, value)| (name.as_str().to_owned(), from_value(value))).collect()
}

fn to_value(value: &Value) -> LinkResult<AMQPValue> {
    Ok(match value {
        Value::Void => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Int(value) => AMQPValue::LongLongInt(*value),
        Value::FloatBits(bits) => AMQPValue::Double(f64::from_bits(*bits)),
        Value::Decimal(scale, value) => AMQPValue::DecimalValue(DecimalValue { scale: *scale, value: *value }),
        Value::Text(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Bytes(bytes) => AMQPValue::ByteArray(ByteArray::from(bytes.as_slice())),
        Value::TimestampS(seconds) => AMQPValue::Timestamp(*seconds),
        Value::List(values) => AMQPValue::FieldArray(FieldArray::from(values.iter().map(to_value).collect::<LinkResult<Vec<_>>>()?)),
        Value::Table(entries) => AMQPValue::FieldTable(to_table(entries)?),
    })
}

fn from_value(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Void => Value::Void,
        AMQPValue::Boolean(value) => Value::Bool(*value),
        AMQPValue::ShortShortInt(value) => Value::Int((*value).into()),
        AMQPValue::ShortShortUInt(value) => Value::Int((*value).into()),
        AMQPValue::ShortInt(value) => Value::Int((*value).into()),
        AMQPValue::ShortUInt(value) => Value::Int((*value).into()),
        AMQPValue::LongInt(value) => Value::Int((*value).into()),
        AMQPValue::LongUInt(value) => Value::Int((*value).into()),
        AMQPValue::LongLongInt(value) => Value::Int(*value),
        AMQPValue::Float(value) => Value::FloatBits(f64::from(*value).to_bits()),
        AMQPValue::Double(value) => Value::FloatBits(value.to_bits()),
        AMQPValue::DecimalValue(value) => Value::Decimal(value.scale, value.value),
        AMQPValue::ShortString(text) => Value::Text(text.as_str().to_owned()),
        // A long string may hold anything; what is no text stays bytes.
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes())
            .map_or_else(|_| Value::Bytes(text.as_bytes().to_vec()), |text| Value::Text(text.to_owned())),
        AMQPValue::FieldArray(values) => Value::List(values.as_slice().iter().map(from_value).collect()),
        AMQPValue::Timestamp(seconds) => Value::TimestampS(*seconds),
        AMQPValue::FieldTable(table) => Value::Table(from_table(table)),
        AMQPValue::ByteArray(bytes) => Value::Bytes(bytes.as_slice().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Void),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::FloatBits),
            any::<(u8, u32)>().prop_map(|(scale, value)| Value::Decimal(scale, value)),
            ".{0,20}".prop_map(Value::Text),
            vec(any::<u8>(), 0..20).prop_map(Value::Bytes),
            any::<u64>().prop_map(Value::TimestampS),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::List), table(inner).prop_map(Value::Table)]
        })
    }

    fn table(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<(String, Value)>> {
        btree_map("[a-z-]{1,8}", value, 0..4).prop_map(|map| map.into_iter().collect())
    }

    fn properties() -> impl Strategy<Value = Properties> {
        let texts = vec(of(".{0,30}"), 9);
        (texts, of(any::<u8>()), of(any::<u64>()), table(value())).prop_map(|(texts, priority, timestamp_s, headers)| {
            let mut texts = texts.into_iter();
            let mut text = || texts.next().flatten();
            Properties {
                message_id: text(),
                correlation_id: text(),
                reply_to: text(),
                content_type: text(),
                content_encoding: text(),
                kind: text(),
                app_id: text(),
                user_id: text(),
                expiration: text(),
                delivery_mode: Some(PERSISTENT),
                priority,
                timestamp_s,
                headers,
                ..Properties::default()
            }
        })
    }

    proptest! {
        #[test]
        fn nothing_is_lost_in_conversion(properties in properties()) {
            let amqp = to_amqp(&properties).expect("all texts are short");
            prop_assert_eq!(from_amqp("".into(), "".into(), &amqp), properties);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_not_a_panic() {
        let properties = Properties { message_id: Some("x".repeat(256)), ..Properties::default() };
        assert!(matches!(to_amqp(&properties), Err(LinkError::Refused(_))));
        let properties = Properties { headers: vec![("x".repeat(256), Value::Void)], ..Properties::default() };
        assert!(matches!(to_amqp(&properties), Err(LinkError::Refused(_))));
    }

    #[test]
    fn a_long_string_that_is_no_text_stays_as_it_is() {
        assert_eq!(from_value(&AMQPValue::LongString(vec![0xff, 0].into())), Value::Bytes(vec![0xff, 0]));
    }
}
