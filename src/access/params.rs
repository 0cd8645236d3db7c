//! The parameters of an address that permission stands in.

/// The value of `name` in a query, as it came: the first that is not empty.
pub fn get<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let pairs = query.trim_start_matches('?').split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(found, value)| *found == name && !value.is_empty()).map(|(_, value)| value).next()
}

#[cfg(test)]
mod tests {
    use super::get;

    #[test]
    fn the_first_that_is_not_empty_counts() {
        assert_eq!(get("a=1&sign=&sign=x=y&sign=z", "sign"), Some("x=y"));
        assert_eq!(get("?sign=x", "sign"), Some("x"));
        assert_eq!(get("resign=x&sign", "sign"), None);
    }
}
