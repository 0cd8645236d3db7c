//! The lines of a session description (RFC 8866 §5), as leniently as peers write them.
//!
//! Line ends may be CRLF, LF or CR; blank lines and blanks around lines are passed over. Invariant: at most
//! [`LINES_MAX`] lines are looked at.

/// The most lines of one description: a browser with every codec and extension sends some 300.
pub(super) const LINES_MAX: usize = 4_000;

/// One line: its letter and what stands behind the `=`.
pub(super) type Line<'a> = (u8, &'a str);

/// The lines of `text`; what has no `=` behind its letter is passed over.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.split(['\r', '\n'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(LINES_MAX)
        .filter_map(|line| line.split_once('='))
        .filter_map(|(letter, value)| match letter.as_bytes() {
            [letter] if letter.is_ascii_lowercase() => Some((*letter, value.trim())),
            _ => None,
        })
}

/// An attribute's name and value: `a=name:value`, or a flag with an empty value.
pub(super) fn attribute(value: &str) -> (&str, &str) {
    value.split_once(':').map_or((value, ""), |(name, value)| (name.trim(), value.trim()))
}

/// Whether a text is of the letters that ICE's names and passwords have (RFC 8839 §5.4).
pub(super) fn is_ice(text: &str) -> bool {
    text.bytes().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'+' | b'/'))
}

/// The value of the first attribute `name` among `lines`.
pub(super) fn find<'a>(lines: &'a [(u8, String)], name: &'a str) -> Option<&'a str> {
    all(lines, name).next()
}

/// The values of all attributes `name`, in their order.
pub(super) fn all<'a>(lines: &'a [(u8, String)], name: &'a str) -> impl Iterator<Item = &'a str> {
    lines
        .iter()
        .filter(|(letter, _)| *letter == b'a')
        .map(|(_, value)| attribute(value))
        .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}
