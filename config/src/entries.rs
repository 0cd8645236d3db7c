//! All keys with their values, for whoever shows them.

use crate::schema::Config;

/// One key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// `rtmp.port`
    pub key: String,
    /// As the file would have it.
    pub value: serde_yaml::Value,
}

impl Config {
    /// Every key, in the order of the schema.
    pub fn entries(&self) -> Vec<Entry> {
        fn walk(value: serde_yaml::Value, key: &str, found: &mut Vec<Entry>) {
            let serde_yaml::Value::Mapping(section) = value else {
                return found.push(Entry { key: key.to_owned(), value });
            };
            for (name, value) in section {
                let name = name.as_str().unwrap_or_default();
                let key = if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
                walk(value, &key, found);
            }
        }
        let mut found = Vec::new();
        // As deep as the schema, which is ours.
        serde_yaml::to_value(self).into_iter().for_each(|value| walk(value, "", &mut found));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_value() {
        let mut config = Config::default();
        config.rtmp.port = 7;
        let entries = config.entries();
        let port = entries.iter().find(|entry| entry.key == "rtmp.port").expect("it is a key");
        assert_eq!(port.value, serde_yaml::Value::from(7));
        assert!(entries.len() > 50 && entries.iter().all(|entry| !entry.value.is_mapping()));
    }
}
