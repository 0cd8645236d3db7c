//! Header fields that own their text: two allocations however many there are, names looked up without regard to case.
//!
//! Invariant: names are lower-case tokens, values hold no CR, LF or NUL (the parser refused them). Order is the wire's.

/// The fields of one head.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// Names and values one after another, without separators.
    text: Vec<u8>,
    fields: Vec<Field>,
}

/// Where a name and then its value end in the text; they begin where the field before them ended.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Field {
    name_end: u32,
    value_end: u32,
}

impl Headers {
    /// From what the library parsed.
    pub(super) fn of(fields: &[httparse::Header<'_>]) -> Self {
        let bytes = fields.iter().map(|field| field.name.len() + field.value.len()).sum();
        let mut headers = Self { text: Vec::with_capacity(bytes), fields: Vec::with_capacity(fields.len()) };
        for field in fields {
            headers.text.extend(field.name.bytes().map(|byte| byte.to_ascii_lowercase()));
            let name_end = headers.text.len() as u32;
            headers.text.extend_from_slice(field.value.trim_ascii());
            headers.fields.push(Field { name_end, value_end: headers.text.len() as u32 });
        }
        headers
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// No field at all.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Every field in the order of the wire; names in lower case, values as the bytes that came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut start = 0;
        self.fields.iter().map(move |field| {
            let (name_end, value_end) = (field.name_end as usize, field.value_end as usize);
            let name = self.text.get(start..name_end).unwrap_or_default();
            let value = self.text.get(name_end..value_end).unwrap_or_default();
            start = value_end;
            // A name is a token and so ASCII.
            (std::str::from_utf8(name).unwrap_or_default(), value)
        })
    }

    /// The values of every field of this name, as bytes.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first value of this name, when it is text.
    pub fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).find_map(|value| std::str::from_utf8(value).ok())
    }

    /// The elements of a comma-separated list that may be spread over several fields (RFC 9110 section 5.6.1),
    /// trimmed, empty ones left out.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|element| !element.is_empty())
    }

    /// The list of this name holds this token, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(token))
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (name, String::from_utf8_lossy(value))))
            .finish()
    }
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
