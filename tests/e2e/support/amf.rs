//! AMF0, as much as commands and metadata need. Panics on nonsense.

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Bool(bool),
    Text(String),
    Object(Vec<(String, Value)>),
    List(Vec<Value>),
    Null,
}

impl Value {
    /// A string.
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A string's characters.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Appends its bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                out.push(0);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Bool(yes) => out.extend_from_slice(&[1, u8::from(*yes)]),
            Self::Text(text) => {
                out.push(2);
                write_name(text, out);
            }
            Self::Object(members) => {
                out.push(3);
                for (name, value) in members {
                    write_name(name, out);
                    value.write(out);
                }
                out.extend_from_slice(&[0, 0, 9]);
            }
            Self::List(values) => {
                out.push(10);
                out.extend_from_slice(&(values.len() as u32).to_be_bytes());
                values.iter().for_each(|value| value.write(out));
            }
            Self::Null => out.push(5),
        }
    }
}

fn write_name(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The bytes of several values.
pub fn encode(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| value.write(&mut out));
    out
}

/// All values in `bytes`.
pub fn decode(mut bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(value(&mut bytes));
    }
    values
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (head, rest) = bytes.split_at(len);
    *bytes = rest;
    head
}

fn name(bytes: &mut &[u8]) -> String {
    let len = take(bytes, 2);
    let len = usize::from(len[0]) << 8 | usize::from(len[1]);
    String::from_utf8_lossy(take(bytes, len)).into_owned()
}

fn count(bytes: &mut &[u8]) -> u32 {
    u32::from_be_bytes(take(bytes, 4).try_into().expect("four bytes"))
}

fn members(bytes: &mut &[u8]) -> Value {
    let mut members = Vec::new();
    loop {
        let key = name(bytes);
        if bytes[0] == 9 {
            take(bytes, 1);
            return Value::Object(members);
        }
        members.push((key, value(bytes)));
    }
}

fn value(bytes: &mut &[u8]) -> Value {
    match take(bytes, 1)[0] {
        0 => Value::Number(f64::from_be_bytes(take(bytes, 8).try_into().expect("eight bytes"))),
        1 => Value::Bool(take(bytes, 1)[0] != 0),
        2 => Value::Text(name(bytes)),
        3 => members(bytes),
        5 | 6 => Value::Null,
        8 => {
            count(bytes);
            members(bytes)
        }
        10 => {
            let len = count(bytes);
            Value::List((0..len).map(|_| value(bytes)).collect())
        }
        12 => {
            let len = count(bytes) as usize;
            Value::Text(String::from_utf8_lossy(take(bytes, len)).into_owned())
        }
        other => panic!("AMF0 marker {other}"),
    }
}
