//! AMF0, the language of RTMP commands and of FLV script tags (Adobe "Action Message Format -- AMF 0").
//!
//! Invariant: decoding makes at most [`VALUES_MAX`] values, nested at most [`DEPTH_MAX`] deep, whose texts together
//! are no longer than the input plus [`REPEATED_BYTES_MAX`]; so neither a nest nor a web of references can exhaust the
//! stack or the memory. Sizes are bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::amf3::{self, Amf3Error};

/// The deepest nest: `onMetaData` with a keyframe index needs 3, Flash remoting about 8.
pub const DEPTH_MAX: usize = 32;
/// The most values in one message: the keyframe index of a ten-hour file with a keyframe a second fits.
pub const VALUES_MAX: usize = 100_000;
/// How much text references may repeat beyond what the input spells out.
pub const REPEATED_BYTES_MAX: usize = 256 << 10;

const NUMBER: u8 = 0x00;
const BOOLEAN: u8 = 0x01;
const STRING: u8 = 0x02;
const OBJECT: u8 = 0x03;
const NULL: u8 = 0x05;
const UNDEFINED: u8 = 0x06;
const REFERENCE: u8 = 0x07;
const ECMA_ARRAY: u8 = 0x08;
const OBJECT_END: u8 = 0x09;
const STRICT_ARRAY: u8 = 0x0A;
const DATE: u8 = 0x0B;
const LONG_STRING: u8 = 0x0C;
const UNSUPPORTED: u8 = 0x0D;
const XML: u8 = 0x0F;
const TYPED: u8 = 0x10;
const AVMPLUS: u8 = 0x11;

/// One value. Fields keep the order of the wire.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The only number there is.
    Number(f64),
    /// A flag.
    Boolean(bool),
    /// Text; what was not UTF-8 on the wire has become U+FFFD. Encodes as a long string when over 65,535 bytes.
    String(String),
    /// An anonymous object.
    Object(Vec<(String, Value)>),
    /// An array with names for indices, such as the body of `onMetaData`.
    EcmaArray(Vec<(String, Value)>),
    /// An array with numbers for indices.
    StrictArray(Vec<Value>),
    /// Nothing, said explicitly.
    Null,
    /// Nothing, not even said.
    Undefined,
    /// A point in time.
    Date {
        /// Milliseconds since 1970 in UTC.
        millis: f64,
        /// Minutes from UTC; the format reserves it and wants zero.
        zone: i16,
    },
    /// An XML document as text.
    Xml(String),
    /// An object of a named class.
    Typed {
        /// The alias that both sides registered.
        class: String,
        /// Its members.
        fields: Vec<(String, Value)>,
    },
    /// What the sender could not express.
    Unsupported,
}

/// What is wrong with an AMF0 text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Amf0Error {
    /// The input ends inside a value.
    #[error("the AMF0 text ends inside a value")]
    Truncated,
    /// A type that AMF0 reserves or does not know, or an object's end where none began.
    #[error("no AMF0 value begins with the marker {0:#04x}")]
    Marker(u8),
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("AMF0 values are nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// More than [`VALUES_MAX`] values, counting those that references repeat.
    #[error("more than {VALUES_MAX} AMF0 values in one message")]
    TooManyValues,
    /// References repeat more text than [`REPEATED_BYTES_MAX`].
    #[error("AMF references repeat more than {REPEATED_BYTES_MAX} bytes of text")]
    TooMuchText,
    /// A reference to an object that has not appeared, or to one that holds the reference.
    #[error("an AMF0 reference to object {0}, which is not complete at this point")]
    Reference(u16),
    /// The AMF3 value behind the marker 0x11 is broken.
    #[error(transparent)]
    Amf3(#[from] Amf3Error),
}

impl Value {
    /// Takes one value off the front of `input`; on an error `input` is as it was.
    ///
    /// # Errors
    /// When no whole value stands there, or it breaks a bound of this module.
    pub fn decode(input: &mut &[u8]) -> Result<Value, Amf0Error> {
        let mut decoder = Decoder::new(input);
        let value = decoder.value()?;
        *input = decoder.rest();
        Ok(value)
    }

    /// Appends the value. Names (of fields and classes) are cut at 65,535 bytes, the most that the format can tell.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Number(number) => {
                out.put_u8(NUMBER);
                out.put_f64(*number);
            }
            Self::Boolean(flag) => out.put_slice(&[BOOLEAN, u8::from(*flag)]),
            Self::String(text) => match u16::try_from(text.len()) {
                Ok(_) => {
                    out.put_u8(STRING);
                    put_name(out, text);
                }
                Err(_) => put_long(out, LONG_STRING, text),
            },
            Self::Object(fields) => {
                out.put_u8(OBJECT);
                put_fields(out, fields);
            }
            Self::EcmaArray(fields) => {
                out.put_u8(ECMA_ARRAY);
                out.put_u32(fields.len() as u32);
                put_fields(out, fields);
            }
            Self::StrictArray(values) => {
                out.put_u8(STRICT_ARRAY);
                out.put_u32(values.len() as u32);
                values.iter().for_each(|value| value.encode(out));
            }
            Self::Null => out.put_u8(NULL),
            Self::Undefined => out.put_u8(UNDEFINED),
            Self::Date { millis, zone } => {
                out.put_u8(DATE);
                out.put_f64(*millis);
                out.put_i16(*zone);
            }
            Self::Xml(text) => put_long(out, XML, text),
            Self::Typed { class, fields } => {
                out.put_u8(TYPED);
                put_name(out, class);
                put_fields(out, fields);
            }
            Self::Unsupported => out.put_u8(UNSUPPORTED),
        }
    }

    /// The field `key` of an object, typed object or ECMA array.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.fields()?.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The number.
    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The flag.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Boolean(flag) = self { Some(*flag) } else { None }
    }

    /// The fields of an object, typed object or ECMA array.
    pub fn fields(&self) -> Option<&[(String, Value)]> {
        match self {
            Self::Object(fields) | Self::EcmaArray(fields) | Self::Typed { fields, .. } => Some(fields),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Boolean(flag)
    }
}

/// An object of these fields: `object([("level", "status".into()), ("clientid", 1.0.into())])`.
pub fn object<K: Into<String>>(fields: impl IntoIterator<Item = (K, Value)>) -> Value {
    Value::Object(fields.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

/// A whole message body: values until its end, sharing one table of references.
///
/// # Errors
/// When the body ends inside a value, or breaks a bound of this module.
pub fn decode_all(input: &[u8]) -> Result<Vec<Value>, Amf0Error> {
    let mut decoder = Decoder::new(input);
    let mut values = Vec::new();
    while !decoder.rest().is_empty() {
        values.push(decoder.value()?);
    }
    Ok(values)
}

/// The body of a message of these values.
pub fn encode_all(values: &[Value]) -> Bytes {
    let mut out = BytesMut::new();
    values.iter().for_each(|value| value.encode(&mut out));
    out.freeze()
}

fn put_name(out: &mut BytesMut, name: &str) {
    let name = &name[..name.floor_char_boundary(usize::from(u16::MAX))];
    out.put_u16(name.len() as u16);
    out.put_slice(name.as_bytes());
}

fn put_long(out: &mut BytesMut, marker: u8, text: &str) {
    let text = &text[..text.floor_char_boundary(u32::MAX as usize)];
    out.put_u8(marker);
    out.put_u32(text.len() as u32);
    out.put_slice(text.as_bytes());
}

fn put_fields(out: &mut BytesMut, fields: &[(String, Value)]) {
    for (name, value) in fields {
        put_name(out, name);
        value.encode(out);
    }
    out.put_slice(&[0, 0, OBJECT_END]);
}

/// What one message may still make; shared with the AMF3 values inside it.
#[derive(Debug)]
pub(super) struct Budget {
    values: usize,
    text: usize,
}

impl Budget {
    pub(super) fn for_input(len: usize) -> Self {
        Self { values: VALUES_MAX, text: len.saturating_add(REPEATED_BYTES_MAX) }
    }

    /// Pays for one value.
    pub(super) fn value(&mut self) -> Option<()> {
        self.values = self.values.checked_sub(1)?;
        Some(())
    }

    /// Pays for a text and makes it.
    pub(super) fn text(&mut self, bytes: &[u8]) -> Option<String> {
        self.text = self.text.checked_sub(bytes.len())?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// A value that a reference can name.
struct Referable {
    /// Where its marker stands.
    at: usize,
    /// Whether it is being read right now, so that a reference to it would be a circle.
    open: bool,
}

struct Decoder<'a> {
    whole: &'a [u8],
    at: usize,
    depth: usize,
    budget: Budget,
    table: Vec<Referable>,
    /// Reading again what a reference names: the table has it all already.
    repeating: bool,
}

impl<'a> Decoder<'a> {
    fn new(whole: &'a [u8]) -> Self {
        let budget = Budget::for_input(whole.len());
        Self { whole, at: 0, depth: 0, budget, table: Vec::new(), repeating: false }
    }

    fn rest(&self) -> &'a [u8] {
        self.whole.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Amf0Error> {
        let taken = self.rest().get(..len).ok_or(Amf0Error::Truncated)?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Amf0Error> {
        let (taken, _) = self.rest().split_first_chunk().ok_or(Amf0Error::Truncated)?;
        self.at += N;
        Ok(*taken)
    }

    fn text(&mut self, len: usize) -> Result<String, Amf0Error> {
        let bytes = self.take(len)?;
        self.budget.text(bytes).ok_or(Amf0Error::TooMuchText)
    }

    fn name(&mut self) -> Result<String, Amf0Error> {
        let len = u16::from_be_bytes(self.array()?);
        self.text(usize::from(len))
    }

    fn long(&mut self) -> Result<String, Amf0Error> {
        let len = u32::from_be_bytes(self.array()?);
        self.text(len as usize)
    }

    fn value(&mut self) -> Result<Value, Amf0Error> {
        self.budget.value().ok_or(Amf0Error::TooManyValues)?;
        let at = self.at;
        let [marker] = self.array()?;
        Ok(match marker {
            NUMBER => Value::Number(f64::from_be_bytes(self.array()?)),
            BOOLEAN => Value::Boolean(self.array()? != [0]),
            STRING => Value::String(self.name()?),
            LONG_STRING => Value::String(self.long()?),
            XML => Value::Xml(self.long()?),
            NULL => Value::Null,
            UNDEFINED => Value::Undefined,
            UNSUPPORTED => Value::Unsupported,
            DATE => Value::Date {
                millis: f64::from_be_bytes(self.array()?),
                zone: i16::from_be_bytes(self.array()?),
            },
            OBJECT | ECMA_ARRAY | STRICT_ARRAY | TYPED => self.complex(at, marker)?,
            REFERENCE => self.reference()?,
            AVMPLUS => self.avmplus()?,
            _ => return Err(Amf0Error::Marker(marker)),
        })
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Amf0Error>) -> Result<T, Amf0Error> {
        if self.depth >= DEPTH_MAX {
            return Err(Amf0Error::TooDeep);
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// The four values that have an inside, and a place in the table of references.
    fn complex(&mut self, at: usize, marker: u8) -> Result<Value, Amf0Error> {
        let index = self.table.len();
        let listed = !self.repeating;
        if listed {
            self.table.push(Referable { at, open: true });
        }
        let value = self.deeper(|this| {
            Ok(match marker {
                OBJECT => Value::Object(this.fields()?),
                ECMA_ARRAY => {
                    // The count is a hint that encoders get wrong (many write zero); the end marker decides.
                    this.array::<4>()?;
                    Value::EcmaArray(this.fields()?)
                }
                TYPED => Value::Typed { class: this.name()?, fields: this.fields()? },
                _ => {
                    let count = u32::from_be_bytes(this.array()?);
                    let mut values = Vec::new();
                    for _ in 0..count {
                        values.push(this.value()?);
                    }
                    Value::StrictArray(values)
                }
            })
        })?;
        if listed && let Some(entry) = self.table.get_mut(index) {
            entry.open = false;
        }
        Ok(value)
    }

    fn fields(&mut self) -> Result<Vec<(String, Value)>, Amf0Error> {
        let mut fields = Vec::new();
        loop {
            if let Some(rest) = self.rest().strip_prefix(&[0, 0, OBJECT_END]) {
                self.at = self.whole.len() - rest.len();
                return Ok(fields);
            }
            // Some encoders leave the end marker of a message's last object or array away.
            if self.rest().is_empty() && !fields.is_empty() {
                return Ok(fields);
            }
            fields.push((self.name()?, self.value()?));
        }
    }

    /// Reads again what stands where the reference points: costs nothing to messages without references.
    fn reference(&mut self) -> Result<Value, Amf0Error> {
        let index = u16::from_be_bytes(self.array()?);
        let at = match self.table.get_mut(usize::from(index)) {
            Some(entry) if !entry.open => {
                entry.open = true;
                entry.at
            }
            _ => return Err(Amf0Error::Reference(index)),
        };
        let (back, was_repeating) =
            (std::mem::replace(&mut self.at, at), std::mem::replace(&mut self.repeating, true));
        let value = self.deeper(Self::value)?;
        (self.at, self.repeating) = (back, was_repeating);
        if let Some(entry) = self.table.get_mut(usize::from(index)) {
            entry.open = false;
        }
        Ok(value)
    }

    fn avmplus(&mut self) -> Result<Value, Amf0Error> {
        let (value, read) = amf3::decode_within(self.rest(), self.depth, &mut self.budget)?;
        self.at += read;
        Ok(value)
    }
}

/// Decodes anything; what decodes must survive the round trip. For the fuzzer and for tests.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(values) = decode_all(data) {
        let again = encode_all(&values);
        let values_again = decode_all(&again);
        // NaN differs from itself, so compare how they print. A name of broken UTF-8 may outgrow its 16-bit length.
        if data.len() < usize::from(u16::MAX) / 3 {
            assert_eq!(format!("{values_again:?}"), format!("{:?}", Ok::<_, Amf0Error>(values)));
        }
    }
}

#[cfg(test)]
#[path = "amf0/tests.rs"]
mod tests;
