//! Which known word was probably meant.

/// The known word nearest to `word`, when it is near enough to be a slip: a third of its letters at most.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Longer words are no slips of ours, and the work below grows with their square.
    const WORD_CHARS_MAX: usize = 64;
    let word: Vec<char> = word.chars().take(WORD_CHARS_MAX + 1).map(normal).collect();
    if word.len() > WORD_CHARS_MAX {
        return None;
    }
    let near = |other: &&'k str| {
        let letters: Vec<char> = other.chars().collect();
        let slips = distance(&word, &letters);
        (slips <= (letters.len() / 3).max(1) && slips < letters.len()).then_some(slips)
    };
    known
        .into_iter()
        .filter_map(|other| near(&other).map(|slips| (slips, other)))
        .min()
        .map(|(_, other)| other)
}

/// `listen-ip` and `Listen_IP` are the same slip of the same word.
fn normal(c: char) -> char {
    if c == '-' { '_' } else { c.to_ascii_lowercase() }
}

/// How many letters to insert, remove, replace or swap with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut two_up: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &to) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(from != to);
            let mut best = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                best = best.min(two_up[j - 1] + 1);
            }
            row.push(best);
        }
        two_up = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_none() {
        let known = ["enable", "listen_ip", "port"];
        assert_eq!(nearest("prot", known), Some("port"));
        assert_eq!(nearest("Listen-IP", known), Some("listen_ip"));
        assert_eq!(nearest("enabled", known), Some("enable"));
        assert_eq!(nearest("hls", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"p".repeat(100_000), known), None);
    }
}
