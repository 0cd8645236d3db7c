//! AMF3 values (Adobe "Action Message Format -- AMF 3"), read into the words of AMF0.
//!
//! Only Flash speaks it: in messages of type 15 and 17, and behind AMF0's marker 0x11. Nothing here writes it, because
//! every client that asks for it also reads AMF0. What AMF0 has no word for becomes the nearest one: integers are
//! numbers, vectors are strict arrays, dictionaries are objects, a byte array is text.
//!
//! Invariant: the bounds of [`amf0`] hold here too, across both formats. Sizes are bytes.

use std::rc::Rc;

use super::amf0::{self, Amf0Error, Budget, DEPTH_MAX, Value};

/// What is wrong with an AMF3 text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Amf3Error {
    /// The input ends inside a value.
    #[error("the AMF3 text ends inside a value")]
    Truncated,
    /// A marker that AMF3 does not know.
    #[error("no AMF3 value begins with the marker {0:#04x}")]
    Marker(u8),
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("AMF3 values are nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// More values than one message may hold.
    #[error("too many AMF3 values in one message")]
    TooManyValues,
    /// References repeat more text than one message may.
    #[error("AMF3 references repeat too much text")]
    TooMuchText,
    /// A reference to a text, value or set of traits that has not appeared.
    #[error("an AMF3 reference to entry {0} of a table that does not have it")]
    Reference(u32),
    /// A class that writes itself in a way only its own code can read.
    #[error("the class {0:?} is externalizable, so its form is not known here")]
    Externalizable(String),
}

/// Takes one value off the front of `input`; on an error `input` is as it was.
///
/// # Errors
/// When no whole value stands there, or it breaks a bound of [`amf0`].
pub fn decode(input: &mut &[u8]) -> Result<Value, Amf3Error> {
    let (value, read) = decode_within(input, 0, &mut Budget::for_input(input.len()))?;
    *input = input.get(read..).unwrap_or_default();
    Ok(value)
}

/// The body of an AMF3 command or data message (types 17 and 15): one byte that selects the format, then values.
///
/// The selector is 0 in everything that is seen on the wire: AMF0, whose values may step into AMF3 by marker 0x11.
/// Senders that leave the selector away begin with a string (marker 2) and are understood.
///
/// # Errors
/// As [`amf0::decode_all`].
pub fn decode_message(body: &[u8]) -> Result<Vec<Value>, Amf0Error> {
    amf0::decode_all(body.strip_prefix(&[0]).unwrap_or(body))
}

/// One value at `depth` of another format's value, paid from its budget, and how many bytes it took.
pub(super) fn decode_within(
    whole: &[u8],
    depth: usize,
    budget: &mut Budget,
) -> Result<(Value, usize), Amf3Error> {
    let mut decoder = Decoder {
        whole,
        at: 0,
        depth,
        budget,
        strings: Vec::new(),
        objects: Vec::new(),
        traits: Vec::new(),
        repeating: false,
    };
    let value = decoder.value()?;
    Ok((value, decoder.at))
}

const UNDEFINED: u8 = 0x00;
const NULL: u8 = 0x01;
const FALSE: u8 = 0x02;
const TRUE: u8 = 0x03;
const INTEGER: u8 = 0x04;
const DOUBLE: u8 = 0x05;
const STRING: u8 = 0x06;
const XML_DOCUMENT: u8 = 0x07;
const DATE: u8 = 0x08;
const ARRAY: u8 = 0x09;
const OBJECT: u8 = 0x0A;
const XML: u8 = 0x0B;
const BYTE_ARRAY: u8 = 0x0C;
const VECTOR_INT: u8 = 0x0D;
const VECTOR_UINT: u8 = 0x0E;
const VECTOR_OBJECT: u8 = 0x10;
const DICTIONARY: u8 = 0x11;

/// Flex wraps arrays and objects in these; inside is one ordinary value.
const TRANSPARENT: [&[u8]; 3] =
    [b"flex.messaging.io.ArrayCollection", b"flex.messaging.io.ArrayList", b"flex.messaging.io.ObjectProxy"];

/// A class's shape. The names are slices of the input, so a table of them costs no text.
struct Traits<'a> {
    class: &'a [u8],
    sealed: Vec<&'a [u8]>,
    dynamic: bool,
    externalizable: bool,
}

/// A value that a reference can name.
struct Referable {
    /// Where its body begins, behind the marker.
    at: usize,
    marker: u8,
    /// Whether it is being read right now; a reference to it is then a circle.
    open: bool,
}

struct Decoder<'a, 'b> {
    whole: &'a [u8],
    at: usize,
    depth: usize,
    budget: &'b mut Budget,
    strings: Vec<&'a [u8]>,
    objects: Vec<Referable>,
    traits: Vec<Rc<Traits<'a>>>,
    /// Reading again what a reference names: the tables have it all already.
    repeating: bool,
}

impl<'a> Decoder<'a, '_> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Amf3Error> {
        let rest = self.whole.get(self.at..).unwrap_or_default();
        let taken = rest.get(..len).ok_or(Amf3Error::Truncated)?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Amf3Error> {
        let rest = self.whole.get(self.at..).unwrap_or_default();
        let (taken, _) = rest.split_first_chunk().ok_or(Amf3Error::Truncated)?;
        self.at += N;
        Ok(*taken)
    }

    /// An unsigned integer of 29 bits in one to four bytes (§1.3.1).
    fn u29(&mut self) -> Result<u32, Amf3Error> {
        let mut value = 0;
        for _ in 0..3 {
            let [byte] = self.array()?;
            value = value << 7 | u32::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        let [byte] = self.array()?;
        Ok(value << 8 | u32::from(byte))
    }

    /// What most things begin with: bit 0 tells a value (and the upper bits its length) from a reference.
    fn head(&mut self) -> Result<Head, Amf3Error> {
        let head = self.u29()?;
        Ok(if head & 1 == 1 { Head::Inline(head >> 1) } else { Head::Reference(head >> 1) })
    }

    fn text(&mut self, bytes: &[u8]) -> Result<String, Amf3Error> {
        self.budget.text(bytes).ok_or(Amf3Error::TooMuchText)
    }

    /// A string's bytes, by value or by reference (§1.3.2). The empty one is never in the table.
    fn string(&mut self) -> Result<&'a [u8], Amf3Error> {
        match self.head()? {
            Head::Reference(index) => {
                self.strings.get(index as usize).copied().ok_or(Amf3Error::Reference(index))
            }
            Head::Inline(len) => {
                let bytes = self.take(len as usize)?;
                if !bytes.is_empty() && !self.repeating {
                    self.strings.push(bytes);
                }
                Ok(bytes)
            }
        }
    }

    fn value(&mut self) -> Result<Value, Amf3Error> {
        self.budget.value().ok_or(Amf3Error::TooManyValues)?;
        let [marker] = self.array()?;
        Ok(match marker {
            UNDEFINED => Value::Undefined,
            NULL => Value::Null,
            FALSE => Value::Boolean(false),
            TRUE => Value::Boolean(true),
            // 29 bits in two's complement: move the sign to bit 31 and back.
            INTEGER => Value::Number(f64::from((self.u29()? << 3) as i32 >> 3)),
            DOUBLE => Value::Number(f64::from_be_bytes(self.array()?)),
            STRING => {
                let bytes = self.string()?;
                Value::String(self.text(bytes)?)
            }
            XML_DOCUMENT..=DICTIONARY => self.referable(marker)?,
            _ => return Err(Amf3Error::Marker(marker)),
        })
    }

    /// The values that share the table of objects, behind their marker.
    fn referable(&mut self, marker: u8) -> Result<Value, Amf3Error> {
        if self.depth >= DEPTH_MAX {
            return Err(Amf3Error::TooDeep);
        }
        self.depth += 1;
        let at = self.at;
        let value = match self.head()? {
            Head::Reference(index) => self.reference(index)?,
            Head::Inline(size) if self.repeating => self.body(marker, size)?,
            Head::Inline(size) => {
                let index = self.objects.len();
                self.objects.push(Referable { at, marker, open: true });
                let value = self.body(marker, size)?;
                if let Some(entry) = self.objects.get_mut(index) {
                    entry.open = false;
                }
                value
            }
        };
        self.depth -= 1;
        Ok(value)
    }

    /// Reads again what stands where the reference points. AMF3 allows circles; AMF0's words cannot, so they end in null.
    fn reference(&mut self, index: u32) -> Result<Value, Amf3Error> {
        let entry = self.objects.get_mut(index as usize).ok_or(Amf3Error::Reference(index))?;
        if entry.open {
            return Ok(Value::Null);
        }
        entry.open = true;
        let (at, marker) = (entry.at, entry.marker);
        let back = std::mem::replace(&mut self.at, at);
        let was_repeating = std::mem::replace(&mut self.repeating, true);
        let value = self.referable(marker)?;
        (self.at, self.repeating) = (back, was_repeating);
        if let Some(entry) = self.objects.get_mut(index as usize) {
            entry.open = false;
        }
        Ok(value)
    }

    fn body(&mut self, marker: u8, size: u32) -> Result<Value, Amf3Error> {
        match marker {
            DATE => Ok(Value::Date { millis: f64::from_be_bytes(self.array()?), zone: 0 }),
            XML_DOCUMENT | XML | BYTE_ARRAY => {
                let bytes = self.take(size as usize)?;
                let text = self.text(bytes)?;
                Ok(if marker == BYTE_ARRAY { Value::String(text) } else { Value::Xml(text) })
            }
            ARRAY => self.mixed(size),
            OBJECT => self.object(size),
            DICTIONARY => self.dictionary(size),
            _ => self.vector(marker, size),
        }
    }

    /// An array: named members until an empty name, then `dense` numbered ones (§3.11).
    fn mixed(&mut self, dense: u32) -> Result<Value, Amf3Error> {
        let mut fields = self.named()?;
        if fields.is_empty() {
            return Ok(Value::StrictArray(self.dense(dense)?));
        }
        for (index, value) in self.dense(dense)?.into_iter().enumerate() {
            fields.push((index.to_string(), value));
        }
        Ok(Value::EcmaArray(fields))
    }

    fn dense(&mut self, count: u32) -> Result<Vec<Value>, Amf3Error> {
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value()?);
        }
        Ok(values)
    }

    fn named(&mut self) -> Result<Vec<(String, Value)>, Amf3Error> {
        let mut fields = Vec::new();
        loop {
            match self.string()? {
                [] => return Ok(fields),
                name => fields.push((self.text(name)?, self.value()?)),
            }
        }
    }

    /// An object: its traits, the values of the sealed members, then the dynamic members (§3.12).
    fn object(&mut self, head: u32) -> Result<Value, Amf3Error> {
        let traits = self.traits(head)?;
        if traits.externalizable {
            return match TRANSPARENT.contains(&traits.class) {
                true => self.value(),
                false => Err(Amf3Error::Externalizable(self.text(traits.class)?)),
            };
        }
        let mut fields = Vec::new();
        for name in &traits.sealed {
            fields.push((self.text(name)?, self.value()?));
        }
        if traits.dynamic {
            fields.append(&mut self.named()?);
        }
        if traits.class.is_empty() {
            return Ok(Value::Object(fields));
        }
        Ok(Value::Typed { class: self.text(traits.class)?, fields })
    }

    /// `head` is what remains behind the object's inline bit: traits by reference or here, flags, count of members.
    fn traits(&mut self, head: u32) -> Result<Rc<Traits<'a>>, Amf3Error> {
        if head & 1 == 0 {
            let index = head >> 1;
            return self.traits.get(index as usize).cloned().ok_or(Amf3Error::Reference(index));
        }
        let mut traits = Traits {
            externalizable: head & 0b10 != 0,
            dynamic: head & 0b100 != 0,
            class: self.string()?,
            sealed: Vec::new(),
        };
        for _ in 0..head >> 3 {
            // Paid for like values: a reference may make us read them again and again.
            self.budget.value().ok_or(Amf3Error::TooManyValues)?;
            traits.sealed.push(self.string()?);
        }
        let traits = Rc::new(traits);
        if !self.repeating {
            self.traits.push(Rc::clone(&traits));
        }
        Ok(traits)
    }

    fn dictionary(&mut self, count: u32) -> Result<Value, Amf3Error> {
        self.take(1)?; // whether its keys are weak
        let mut fields = Vec::new();
        for _ in 0..count {
            let key = match self.value()? {
                Value::String(text) => text,
                Value::Number(number) => self.text(number.to_string().as_bytes())?,
                Value::Boolean(flag) => flag.to_string(),
                _ => "[object]".to_owned(),
            };
            fields.push((key, self.value()?));
        }
        Ok(Value::Object(fields))
    }

    fn vector(&mut self, marker: u8, count: u32) -> Result<Value, Amf3Error> {
        self.take(1)?; // whether its length is fixed
        if marker == VECTOR_OBJECT {
            self.string()?; // the class of its members
            return Ok(Value::StrictArray(self.dense(count)?));
        }
        let mut values = Vec::new();
        for _ in 0..count {
            self.budget.value().ok_or(Amf3Error::TooManyValues)?;
            values.push(Value::Number(match marker {
                VECTOR_INT => f64::from(i32::from_be_bytes(self.array()?)),
                VECTOR_UINT => f64::from(u32::from_be_bytes(self.array()?)),
                _ => f64::from_be_bytes(self.array()?), // 0x0F
            }));
        }
        Ok(Value::StrictArray(values))
    }
}

enum Head {
    Inline(u32),
    Reference(u32),
}

/// Decodes anything. For the fuzzer and for tests.
#[doc(hidden)]
pub fn fuzz(mut data: &[u8]) {
    let _ = decode_message(data);
    while let Ok(value) = decode(&mut data) {
        let mut out = bytes::BytesMut::new();
        value.encode(&mut out);
        assert!(amf0::decode_all(&out).is_ok(), "what AMF3 makes, AMF0 must read");
        if data.is_empty() {
            return;
        }
    }
}

#[cfg(test)]
#[path = "amf3/tests.rs"]
mod tests;
