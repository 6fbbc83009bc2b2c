//! Values to JSON.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::item::{Item, Number, Value};

/// Appends an item as a JSON object.
pub fn write_item(item: &Item, out: &mut Vec<u8>) {
    out.push(b'{');
    for (position, (name, value)) in item.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        write_value(value, out);
    }
    out.push(b'}');
}

/// Appends a value as a JSON object of one member.
pub fn write_value(value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(value.type_name().as_bytes());
    out.extend_from_slice(b"\":");
    match value {
        Value::S(text) => write_string(text, out),
        Value::N(number) => write_number(*number, out),
        Value::B(bytes) => write_binary(bytes, out),
        Value::Bool(true) | Value::Null => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Ss(set) => write_array(set, out, |text, out| write_string(text, out)),
        Value::Ns(set) => write_array(set, out, |number, out| write_number(*number, out)),
        Value::Bs(set) => write_array(set, out, |bytes, out| write_binary(bytes, out)),
        Value::L(list) => write_array(list, out, write_value),
        Value::M(map) => write_item(map, out),
    }
    out.push(b'}');
}

fn write_array<T>(
    elements: impl IntoIterator<Item = T>,
    out: &mut Vec<u8>,
    write: impl Fn(T, &mut Vec<u8>),
) {
    out.push(b'[');
    for (position, element) in elements.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write(element, out);
    }
    out.push(b']');
}

/// Appends a JSON string. Only what JSON requires is escaped.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(plain) = rest
        .iter()
        .position(|b| matches!(b, 0..=0x1F | b'"' | b'\\'))
    {
        let (before, after) = rest.split_at(plain);
        out.extend_from_slice(before);
        let Some((byte, after)) = after.split_first() else {
            break;
        };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0C => out.extend_from_slice(b"\\f"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 0xF)]);
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends a number as a JSON string.
pub(crate) fn write_number(number: Number, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let written = write!(out, "\"{number}\"");
    debug_assert!(written.is_ok());
}

/// Appends bytes as a JSON string of base64.
pub(crate) fn write_binary(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    let written = STANDARD.encode_slice(bytes, room);
    assert!(
        written.is_ok(),
        "base64 takes four characters for three bytes"
    );
    out.push(b'"');
}
