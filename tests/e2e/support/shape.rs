//! The shape of JSON in the words of SRS's contract: `id:str, kbps{recv_30s:int, send_30s:int}, urls[str]`.
//!
//! `int` is a JSON number without a fraction, `num` one with; `any` is anything. Every key that is named must be there; others may.

use serde_json::Value;

/// Fails unless `value` has the shape `spec`; `what` names it.
///
/// # Panics
/// Naming the first key that is missing or of another type.
pub fn check(what: &str, value: &Value, spec: &str) {
    let mut rest = spec.trim();
    while !rest.is_empty() {
        let end = rest.find([':', '{', ',', '[']).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let name = name.trim().trim_matches('"');
        let found = value.get(name).unwrap_or_else(|| panic!("{what}: there is no {name} in {value}"));
        let at = format!("{what}.{name}");
        rest = match behind.as_bytes().first() {
            Some(b'{') => {
                let (inner, behind) = group(behind, '{', '}');
                assert!(found.is_object(), "{at} is no object: {found}");
                check(&at, found, inner);
                behind
            }
            Some(b'[') => {
                let (inner, behind) = group(behind, '[', ']');
                let list = found.as_array().unwrap_or_else(|| panic!("{at} is no list: {found}"));
                for (n, item) in list.iter().enumerate() {
                    match inner.contains(':') {
                        true => check(&format!("{at}[{n}]"), item, inner),
                        false => kind(&format!("{at}[{n}]"), item, inner),
                    }
                }
                behind
            }
            Some(b':') => {
                let behind = &behind[1..];
                let end = behind.find([',', '}']).unwrap_or(behind.len());
                kind(&at, found, behind[..end].trim());
                &behind[end..]
            }
            _ => panic!("{what}: a specification like {spec:?}"),
        };
        rest = rest.trim_start().trim_start_matches(',').trim_start();
    }
}

fn group(text: &str, open: char, close: char) -> (&str, &str) {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == open) - i32::from(c == close);
        if depth == 0 {
            return (&text[1..at], &text[at + 1..]);
        }
    }
    panic!("a specification without its end: {text:?}")
}

fn kind(at: &str, value: &Value, kind: &str) {
    let fits = match kind {
        "int" => value.is_i64() || value.is_u64(),
        "num" => value.is_f64(),
        "str" => value.is_string(),
        "bool" => value.is_boolean(),
        "null" => value.is_null(),
        "any" => true,
        other => panic!("a kind like {other:?}"),
    };
    assert!(fits, "{at} should be {kind}, and is {value}");
}
