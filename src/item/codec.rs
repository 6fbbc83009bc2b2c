//! The compact binary form of items.
//!
//! ```text
//! item   = version size count (name value)*        names strictly ascending
//! name   = length bytes
//! value  = tag payload                             see [`tag`]
//! number = head exponent? coefficient              see [`write_number`]
//! ```
//!
//! `version` is one byte; `size` (as [`size::item_size`] counts), `count` and `length` are varints. There
//! is exactly one encoding of an item: decoding refuses any other, so equal bytes are equal items. Bytes
//! may come from a damaged disk or another region; nothing read from them is trusted. Lengths are held
//! against what is left before anything is allocated, and the depth is bounded.

use super::json::{write_binary, write_number as write_json_number, write_string};
use super::{Item, Number, Value, size};

/// The version that this build writes.
const VERSION: u8 = 1;

/// Nesting that decoding follows. More than an item may have ([`super::value::NESTING_MAX`]), so that
/// only damage meets it.
const DEPTH_MAX: usize = 64;

/// Value tags.
mod tag {
    pub const S: u8 = 1;
    pub const N: u8 = 2;
    pub const B: u8 = 3;
    pub const FALSE: u8 = 4;
    pub const TRUE: u8 = 5;
    pub const NULL: u8 = 6;
    pub const SS: u8 = 7;
    pub const NS: u8 = 8;
    pub const BS: u8 = 9;
    pub const L: u8 = 10;
    pub const M: u8 = 11;
}

/// Flags of a number's head byte; its low five bits are the length of the coefficient.
mod head {
    pub const NEGATIVE: u8 = 0x80;
    pub const EXPONENT_LONG: u8 = 0x40;
    pub const EXPONENT: u8 = 0x20;
    pub const LENGTH: u8 = 0x1F;
}

/// Why bytes are not an item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("item encoding version {0} is not known to this build")]
    Version(u8),
    #[error("item encoding ends early")]
    Truncated,
    #[error("item encoding is damaged: {0}")]
    Malformed(&'static str),
    #[error("item encoding is nested too deep")]
    TooDeep,
}

/// Encodes an item.
pub fn encode(item: &Item) -> Vec<u8> {
    let bytes = size::item_size(item);
    let mut out = Vec::with_capacity(bytes + 8 + item.len() * 4);
    out.push(VERSION);
    write_varint(bytes, &mut out);
    write_fields(item, &mut out);
    out
}

/// Decodes an item.
pub fn decode(bytes: &[u8]) -> Result<Item, CodecError> {
    let (mut reader, size) = Reader::open(bytes)?;
    let item = reader.fields(0)?;
    reader.finish()?;
    if size::item_size(&item) != size {
        return Err(CodecError::Malformed("size"));
    }
    Ok(item)
}

/// Decodes those top-level attributes of an item whose names are wanted, and looks at the others only as far as it
/// takes to get past them.
pub fn pick(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Item, CodecError> {
    let (mut reader, _) = Reader::open(bytes)?;
    let mut item = Item::new();
    let mut last = None;
    for _ in 0..reader.count()? {
        let name = reader.name(last)?;
        last = Some(name);
        if wanted(name) {
            item.insert(name.to_owned(), reader.value(0)?);
        } else {
            reader.skip(0)?;
        }
    }
    reader.finish()?;
    Ok(item)
}

/// Appends the item as JSON, straight from its bytes. After an error, `out` holds a part of it.
pub fn write_json(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let (mut reader, _) = Reader::open(bytes)?;
    reader.fields_json(0, out)?;
    reader.finish()
}

/// The item's size as DynamoDB counts it, from the header alone.
pub fn item_size(bytes: &[u8]) -> Result<usize, CodecError> {
    Reader::open(bytes).map(|(_, size)| size)
}

fn write_varint(value: usize, out: &mut Vec<u8>) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_varint(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn write_fields(fields: &Item, out: &mut Vec<u8>) {
    write_varint(fields.len(), out);
    for (name, value) in fields {
        write_bytes(name.as_bytes(), out);
        write_value(value, out);
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::S(text) => {
            out.push(tag::S);
            write_bytes(text.as_bytes(), out);
        }
        Value::N(number) => {
            out.push(tag::N);
            write_number(*number, out);
        }
        Value::B(bytes) => {
            out.push(tag::B);
            write_bytes(bytes, out);
        }
        Value::Bool(false) => out.push(tag::FALSE),
        Value::Bool(true) => out.push(tag::TRUE),
        Value::Null => out.push(tag::NULL),
        Value::Ss(set) => {
            out.push(tag::SS);
            write_varint(set.len(), out);
            set.iter()
                .for_each(|text| write_bytes(text.as_bytes(), out));
        }
        Value::Ns(set) => {
            out.push(tag::NS);
            write_varint(set.len(), out);
            set.iter().for_each(|number| write_number(*number, out));
        }
        Value::Bs(set) => {
            out.push(tag::BS);
            write_varint(set.len(), out);
            set.iter().for_each(|bytes| write_bytes(bytes, out));
        }
        Value::L(list) => {
            out.push(tag::L);
            write_varint(list.len(), out);
            list.iter().for_each(|value| write_value(value, out));
        }
        Value::M(map) => {
            out.push(tag::M);
            write_fields(map, out);
        }
    }
}

/// Head byte, then the exponent in one or two bytes unless it is 0, then the coefficient in as few
/// big-endian bytes as hold it: `42` takes two bytes, zero one.
fn write_number(number: Number, out: &mut Vec<u8>) {
    let coefficient = number.coefficient().to_be_bytes();
    let unused = coefficient.iter().take_while(|b| **b == 0).count();
    let significant = coefficient.get(unused..).unwrap_or_default();
    let mut head = u8::try_from(significant.len()).unwrap_or(head::LENGTH);
    if number.is_negative() {
        head |= head::NEGATIVE;
    }
    match (number.exponent(), i8::try_from(number.exponent())) {
        (0, _) => out.push(head),
        (_, Ok(short)) => {
            out.push(head | head::EXPONENT);
            out.extend_from_slice(&short.to_be_bytes());
        }
        (long, Err(_)) => {
            out.push(head | head::EXPONENT_LONG);
            out.extend_from_slice(&long.to_be_bytes());
        }
    }
    out.extend_from_slice(significant);
}

/// What is left to read of an encoded item.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Past the header, with the size it states.
    fn open(bytes: &'a [u8]) -> Result<(Reader<'a>, usize), CodecError> {
        let mut reader = Reader { rest: bytes };
        match reader.byte()? {
            VERSION => {}
            other => return Err(CodecError::Version(other)),
        }
        let size = reader.varint()?;
        Ok((reader, size))
    }

    fn finish(self) -> Result<(), CodecError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(CodecError::Malformed("bytes after the item"))
        }
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        let (byte, rest) = self.rest.split_first().ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A varint of at most 32 bits, in its shortest form.
    fn varint(&mut self) -> Result<usize, CodecError> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(CodecError::Malformed("varint"));
                }
                let value = u32::try_from(value)
                    .ok()
                    .and_then(|v| usize::try_from(v).ok());
                return value.ok_or(CodecError::Malformed("varint"));
            }
        }
        Err(CodecError::Malformed("varint"))
    }

    /// A number of elements. Each takes a byte at least, so more than are left cannot be.
    fn count(&mut self) -> Result<usize, CodecError> {
        let count = self.varint()?;
        if count > self.rest.len() {
            Err(CodecError::Truncated)
        } else {
            Ok(count)
        }
    }

    /// The number of elements of a set, which is never empty.
    fn set_count(&mut self) -> Result<usize, CodecError> {
        match self.count()? {
            0 => Err(CodecError::Malformed("empty set")),
            count => Ok(count),
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let length = self.varint()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, CodecError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| CodecError::Malformed("text"))
    }

    fn number(&mut self) -> Result<Number, CodecError> {
        let damaged = CodecError::Malformed("number");
        let head = self.byte()?;
        let exponent = match head & (head::EXPONENT | head::EXPONENT_LONG) {
            0 => 0,
            head::EXPONENT => match i8::from_be_bytes([self.byte()?]) {
                0 => return Err(damaged),
                short => i16::from(short),
            },
            head::EXPONENT_LONG => {
                let long = i16::from_be_bytes([self.byte()?, self.byte()?]);
                if i8::try_from(long).is_ok() {
                    return Err(damaged);
                }
                long
            }
            _ => return Err(damaged),
        };
        let significant = self.take(usize::from(head & head::LENGTH))?;
        if significant.len() > 16 || significant.first() == Some(&0) {
            return Err(damaged);
        }
        let coefficient = significant
            .iter()
            .fold(0u128, |c, byte| c << 8 | u128::from(*byte));
        Number::from_parts(head & head::NEGATIVE != 0, coefficient, exponent).ok_or(damaged)
    }

    /// A set's elements, strictly ascending.
    fn set<T: Ord + Clone>(
        &mut self,
        element: impl Fn(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let count = self.set_count()?;
        let mut elements: Vec<T> = Vec::with_capacity(count);
        for _ in 0..count {
            let next = element(self)?;
            if elements.last().is_some_and(|last| *last >= next) {
                return Err(CodecError::Malformed("order of a set"));
            }
            elements.push(next);
        }
        Ok(elements)
    }

    fn fields(&mut self, depth: usize) -> Result<Item, CodecError> {
        let mut fields = Vec::new();
        let mut last: Option<&str> = None;
        for _ in 0..self.count()? {
            let name = self.name(last)?;
            last = Some(name);
            fields.push((name.to_owned(), self.value(depth)?));
        }
        Ok(fields.into_iter().collect())
    }

    /// The next attribute name, which is greater than the one before.
    fn name(&mut self, last: Option<&str>) -> Result<&'a str, CodecError> {
        let name = self.text()?;
        if last.is_some_and(|last| last >= name) {
            return Err(CodecError::Malformed("order of names"));
        }
        Ok(name)
    }

    fn value(&mut self, depth: usize) -> Result<Value, CodecError> {
        Ok(match self.byte()? {
            tag::S => Value::S(self.text()?.to_owned()),
            tag::N => Value::N(self.number()?),
            tag::B => Value::B(self.bytes()?.to_vec()),
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::NULL => Value::Null,
            tag::SS => Value::Ss(
                self.set(Self::text)?
                    .into_iter()
                    .map(str::to_owned)
                    .collect(),
            ),
            tag::NS => Value::Ns(self.set(Self::number)?.into_iter().collect()),
            tag::BS => Value::Bs(
                self.set(Self::bytes)?
                    .into_iter()
                    .map(<[u8]>::to_vec)
                    .collect(),
            ),
            tag::L => {
                let depth = deeper(depth)?;
                let mut list = Vec::new();
                for _ in 0..self.count()? {
                    list.push(self.value(depth)?);
                }
                Value::L(list)
            }
            tag::M => Value::M(self.fields(deeper(depth)?)?),
            _ => return Err(CodecError::Malformed("tag")),
        })
    }

    /// Gets past a value.
    fn skip(&mut self, depth: usize) -> Result<(), CodecError> {
        match self.byte()? {
            tag::S | tag::B => {
                self.bytes()?;
            }
            tag::N => self.skip_number()?,
            tag::FALSE | tag::TRUE | tag::NULL => {}
            tag::SS | tag::BS => {
                for _ in 0..self.set_count()? {
                    self.bytes()?;
                }
            }
            tag::NS => {
                for _ in 0..self.set_count()? {
                    self.skip_number()?;
                }
            }
            tag::L => {
                let depth = deeper(depth)?;
                for _ in 0..self.count()? {
                    self.skip(depth)?;
                }
            }
            tag::M => {
                let depth = deeper(depth)?;
                for _ in 0..self.count()? {
                    self.bytes()?;
                    self.skip(depth)?;
                }
            }
            _ => return Err(CodecError::Malformed("tag")),
        }
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), CodecError> {
        let head = self.byte()?;
        let exponent = match head & (head::EXPONENT | head::EXPONENT_LONG) {
            0 => 0,
            head::EXPONENT => 1,
            _ => 2,
        };
        self.take(exponent + usize::from(head & head::LENGTH))?;
        Ok(())
    }

    fn fields_json(&mut self, depth: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.push(b'{');
        let mut last: Option<&str> = None;
        for _ in 0..self.count()? {
            let name = self.name(last)?;
            if last.is_some() {
                out.push(b',');
            }
            last = Some(name);
            write_string(name, out);
            out.push(b':');
            self.value_json(depth, out)?;
        }
        out.push(b'}');
        Ok(())
    }

    fn value_json(&mut self, depth: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        match self.byte()? {
            tag::S => {
                out.extend_from_slice(b"{\"S\":");
                write_string(self.text()?, out);
            }
            tag::N => {
                out.extend_from_slice(b"{\"N\":");
                write_json_number(self.number()?, out);
            }
            tag::B => {
                out.extend_from_slice(b"{\"B\":");
                write_binary(self.bytes()?, out);
            }
            tag::FALSE => out.extend_from_slice(b"{\"BOOL\":false"),
            tag::TRUE => out.extend_from_slice(b"{\"BOOL\":true"),
            tag::NULL => out.extend_from_slice(b"{\"NULL\":true"),
            tag::SS => self.array_json("SS", Self::set_count, out, |r, out| {
                r.text().map(|text| write_string(text, out))
            })?,
            tag::NS => self.array_json("NS", Self::set_count, out, |r, out| {
                r.number().map(|number| write_json_number(number, out))
            })?,
            tag::BS => self.array_json("BS", Self::set_count, out, |r, out| {
                r.bytes().map(|bytes| write_binary(bytes, out))
            })?,
            tag::L => {
                let depth = deeper(depth)?;
                self.array_json("L", Self::count, out, |r, out| r.value_json(depth, out))?;
            }
            tag::M => {
                out.extend_from_slice(b"{\"M\":");
                self.fields_json(deeper(depth)?, out)?;
            }
            _ => return Err(CodecError::Malformed("tag")),
        }
        out.push(b'}');
        Ok(())
    }

    fn array_json(
        &mut self,
        name: &str,
        count: impl Fn(&mut Self) -> Result<usize, CodecError>,
        out: &mut Vec<u8>,
        element: impl Fn(&mut Self, &mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":[");
        for position in 0..count(self)? {
            if position > 0 {
                out.push(b',');
            }
            element(self, out)?;
        }
        out.push(b']');
        Ok(())
    }
}

fn deeper(depth: usize) -> Result<usize, CodecError> {
    if depth >= DEPTH_MAX {
        Err(CodecError::TooDeep)
    } else {
        Ok(depth + 1)
    }
}

#[cfg(test)]
mod tests;
