//! What a log line may say of an address: all but its secrets.

use std::borrow::Cow;

/// Parameters whose values stay secret: those that are one, in any spelling that people use for them.
const SECRETS: [&str; 14] = [
    "token",
    "sign",
    "signature",
    "sig",
    "secret",
    "password",
    "passwd",
    "pass",
    "pwd",
    "auth",
    "key",
    "jwt",
    "credential",
    "access_token",
];

/// Parameters that begin so are secret, too: `sign_2`, `token-play` …
const BEGINNINGS: [&str; 4] = ["token", "sign", "secret", "auth"];

/// `text`, an address or its parameters, with `***` for the values of secret parameters and for the password before a
/// host (`rtmp://user:password@host`).
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    if let Some((before, userinfo, behind)) = userinfo(text) {
        out.push_str(before);
        let user = userinfo.split(':').next().unwrap_or_default();
        out.push_str(user);
        out.push_str(":***@");
        rest = behind;
    }
    loop {
        let Some(equals) = rest.find('=') else {
            out.push_str(rest);
            break;
        };
        let (head, tail) = rest.split_at(equals + 1);
        out.push_str(head);
        let name = head.trim_end_matches('=').rsplit(is_end).next().unwrap_or_default();
        let end = tail.find(is_end).unwrap_or(tail.len());
        let (value, behind) = tail.split_at(end);
        out.push_str(if is_secret(name) && !value.is_empty() { "***" } else { value });
        rest = behind;
    }
    if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// What parts one parameter from the next, in all the ways that servers read them.
fn is_end(c: char) -> bool {
    matches!(c, '&' | '?' | ';' | '#' | ',') || c.is_whitespace() || c == '"'
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.contains(&name.as_str()) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// The text up to `scheme://`, what stands between that and an `@` of the authority, and what follows the `@`; where a
/// password is in it.
fn userinfo(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find("://")? + 3;
    let (before, rest) = text.split_at(start);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let at = rest.get(..end)?.rfind('@')?;
    let userinfo = rest.get(..at).filter(|userinfo| userinfo.contains(':'))?;
    Some((before, userinfo, rest.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_hidden_and_all_else_stays() {
        for (text, shown) in [
            ("rtmp://h/live?token=abc", "rtmp://h/live?token=***"),
            ("token=a.b.c&vhost=v&sign=00ff&expires=17", "token=***&vhost=v&sign=***&expires=17"),
            ("?Token=abc&SIGNATURE=x;Sign2=y,secret=z", "?Token=***&SIGNATURE=***;Sign2=***,secret=***"),
            ("rtmp://me:hunter2@h:1935/live", "rtmp://me:***@h:1935/live"),
            ("rtmp://h/live/cam?key=a=b=&x=1", "rtmp://h/live/cam?key=***&x=1"),
            ("rtmp://h/live/a@b:c", "rtmp://h/live/a@b:c"),
            ("design=modern&monkey=1", "design=modern&monkey=1"),
            ("token=&a", "token=&a"),
            ("live?token=a?token=b", "live?token=***?token=***"),
        ] {
            assert_eq!(mask(text), shown, "{text}");
        }
    }

    #[test]
    fn what_has_no_secret_is_not_copied() {
        assert!(matches!(mask("rtmp://h/live?vhost=v"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn a_token_is_never_shown(before in "[a-z/:?&=]{0,20}", token in "[A-Z0-9]{6,20}", after in "([&;#]\\PC{0,20})?") {
            let text = format!("{before}?token={token}{after}");
            prop_assume!(!before.contains(&token) && !after.contains(&token));
            prop_assert!(!mask(&text).contains(&token), "{}", mask(&text));
        }
    }
}
