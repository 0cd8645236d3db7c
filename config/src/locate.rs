//! On which line of a YAML text a key stands.
//!
//! The parser tells a position only with an error, so a search walks to the key and fails there. That
//! parses the text once more, for errors and questions only, and is right for every way of writing YAML.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// The line of the last key of `path`, from 1; `None` where the text has no such key.
pub(crate) fn line_of<S: AsRef<str>>(text: &str, path: &[S]) -> Option<usize> {
    let (last, sections) = path.split_last()?;
    let section = Section { sections, last: last.as_ref() };
    let failure = section.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    // Any other failure would have stopped the first reading of this text.
    failure.to_string().contains(FOUND).then(|| failure.location().map(|place| place.line())).flatten()
}

const FOUND: &str = "the key that was looked for";

struct Section<'p, S> {
    sections: &'p [S],
    last: &'p str,
}

impl<'de, S: AsRef<str>> DeserializeSeed<'de> for Section<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: AsRef<str>> Visitor<'de> for Section<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let (wanted, deeper) = match self.sections.split_first() {
            Some((wanted, deeper)) => (wanted.as_ref(), Some(deeper)),
            None => (self.last, None),
        };
        while let Some(found) = access.next_key_seed(Key { wanted, is_last: deeper.is_none() })? {
            match deeper {
                Some(sections) if found => access.next_value_seed(Section { sections, last: self.last })?,
                _ => access.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }
}

struct Key<'p> {
    wanted: &'p str,
    is_last: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a key")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        match text == self.wanted {
            true if self.is_last => Err(E::custom(FOUND)),
            found => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_however_the_file_is_written() {
        let text = "# port: 1\nlog: {level: info,\n  format: text}\n\nrtmp:\n    enable: true\n    \"port\": 2\nport: 3\n";
        assert_eq!(line_of(text, &["log"]), Some(2));
        assert_eq!(line_of(text, &["log", "format"]), Some(3));
        assert_eq!(line_of(text, &["rtmp", "port"]), Some(7));
        assert_eq!(line_of(text, &["port"]), Some(8));
    }

    #[test]
    fn what_is_not_there_has_no_line() {
        assert_eq!(line_of("rtmp:\n  port: 1\n", &["rtmp", "enable"]), None);
        assert_eq!(line_of("rtmp: 1\n", &["rtmp", "port"]), None);
        assert_eq!(line_of("", &["rtmp"]), None);
        assert_eq!(line_of::<&str>("rtmp: 1\n", &[]), None);
    }
}
