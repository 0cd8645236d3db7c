//! What must hold for exit status 0: `p99<20ms`, `died==0`, `cpu_per_gb<=1.5`, and between targets of a comparison
//! `shardcast/floor.cpu_per_gb<=1.15` (a ratio) and `shardcast-floor.p99<=5ms` (a difference).

use std::{fmt, str::FromStr};

use crate::{outcome::Metric, units::Unit};

/// How a metric and its bound are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Other,
}

/// Longer ones first, so that `<=` is not read as `<`.
const COMPARISONS: [(&str, Comparison); 7] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("!=", Comparison::Other),
    ("<", Comparison::Less),
    (">", Comparison::More),
    ("=", Comparison::Equal),
];

impl Comparison {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::AtMost => value <= bound,
            Self::More => value > bound,
            Self::AtLeast => value >= bound,
            Self::Equal => value == bound,
            Self::Other => value.is_finite() && value != bound,
        }
    }
}

/// Something that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    text: String,
    name: String,
    comparison: Comparison,
    bound: String,
}

/// Why a text is no requirement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequireError {
    /// Not NAME COMPARISON BOUND.
    #[error("'{0}' is no requirement such as 'p99<20ms' or 'died==0'")]
    Shape(String),
    /// No metric of that name; with those that come near.
    #[error("there is no metric '{name}'{near}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        near: String,
    },
    /// A bound in another unit.
    #[error("'{bound}' is no bound for {name}, which is {unit}")]
    Bound {
        /// What was asked for.
        bound: String,
        /// Of what.
        name: String,
        /// What it should be.
        unit: String,
    },
}

impl FromStr for Requirement {
    type Err = RequireError;

    fn from_str(text: &str) -> Result<Self, RequireError> {
        let shape = || RequireError::Shape(text.to_owned());
        let at = text.find(['<', '>', '=', '!']).ok_or_else(shape)?;
        let (name, rest) = text.split_at(at);
        let found =
            COMPARISONS.iter().find_map(|(sign, comparison)| Some((*comparison, rest.strip_prefix(sign)?)));
        let (comparison, bound) = found.ok_or_else(shape)?;
        let (name, bound) = (name.trim().to_owned(), bound.trim().to_owned());
        let number = bound.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if name.is_empty() || !number {
            return Err(shape());
        }
        Ok(Self { text: text.trim().to_owned(), name, comparison, bound })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where requirements find their metrics: one run's, or those of several targets by name.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// One run.
    One(&'a [Metric]),
    /// A comparison.
    Several(&'a [(String, Vec<Metric>)]),
}

impl Found<'_> {
    fn get(&self, name: &str) -> Option<(f64, Unit)> {
        let of = |metrics: &[Metric], name: &str| {
            metrics.iter().find(|metric| metric.name == name).map(|metric| (metric.value, metric.unit))
        };
        let targets = match self {
            Self::One(metrics) => return of(metrics, name),
            Self::Several(targets) => targets,
        };
        let target = |text: &str| targets.iter().find(|(known, _)| known == text).map(|(_, metrics)| metrics);
        // Names of targets and of metrics may hold dots and dashes; what exists decides.
        name.match_indices('.').find_map(|(at, _)| {
            let (who, what) = (name.get(..at)?, name.get(at + 1..)?);
            if let Some(metrics) = target(who) {
                return of(metrics, what);
            }
            who.match_indices(['/', '-']).find_map(|(at, sign)| {
                let (one, other) = (target(who.get(..at)?)?, target(who.get(at + 1..)?)?);
                let ((one, unit), (other, _)) = (of(one, what)?, of(other, what)?);
                Some(if sign == "/" { (one / other, Unit::Count) } else { (one - other, unit) })
            })
        })
    }

    /// Names that share letters with one that does not exist.
    fn near(&self, name: &str) -> String {
        let metrics = match self {
            Self::One(metrics) => metrics,
            Self::Several(targets) => targets.first().map_or(&[][..], |(_, metrics)| metrics),
        };
        let last = name.rsplit('.').next().unwrap_or(name);
        let part = last.get(..last.len().min(3)).unwrap_or(last);
        let near: Vec<&str> = metrics
            .iter()
            .map(|metric| metric.name.as_str())
            .filter(|known| known.contains(part))
            .take(8)
            .collect();
        if near.is_empty() { String::new() } else { format!("; there is {}", near.join(", ")) }
    }
}

/// What became of a requirement.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What was required.
    pub requirement: String,
    /// Whether it holds. What was not measured does not hold.
    pub holds: bool,
    /// In a sentence.
    pub sentence: String,
}

impl Requirement {
    /// [`check`](Self::check), where a mistake in the requirement is one that does not hold.
    pub fn verdict(&self, found: Found<'_>) -> Verdict {
        self.check(found).unwrap_or_else(|error| Verdict {
            requirement: self.text.clone(),
            holds: false,
            sentence: format!("{} cannot be checked: {error}.", self.text),
        })
    }

    /// Compares.
    ///
    /// # Errors
    /// When there is no such metric, or the bound has another unit.
    pub fn check(&self, found: Found<'_>) -> Result<Verdict, RequireError> {
        let (value, unit) = found
            .get(&self.name)
            .ok_or_else(|| RequireError::Unknown { name: self.name.clone(), near: found.near(&self.name) })?;
        let bound = unit.parse(&self.bound).ok_or_else(|| RequireError::Bound {
            bound: self.bound.clone(),
            name: self.name.clone(),
            unit: if unit == Unit::Count {
                "a plain number".to_owned()
            } else {
                format!("in {}", unit.name())
            },
        })?;
        let holds = self.comparison.holds(value, bound);
        let sentence = match (holds, value.is_finite()) {
            (true, _) => format!("{} holds: it is {}.", self.text, unit.show(value)),
            (false, true) => format!("{} does not hold: it is {}.", self.text, unit.show(value)),
            (false, false) => format!("{} does not hold: it was not measured.", self.text),
        };
        Ok(Verdict { requirement: self.text.clone(), holds, sentence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(p99: f64, died: f64) -> Vec<Metric> {
        let metric = |name: &str, unit, value| Metric { name: name.to_owned(), unit, value };
        vec![
            metric("p99", Unit::Millis, p99),
            metric("died", Unit::Count, died),
            metric("rss", Unit::Bytes, 9_000.0),
            metric("cpu_per_gb", Unit::MillisPerGb, p99 * 10.0),
            metric("players.gap_max", Unit::Millis, f64::NAN),
        ]
    }

    fn holds(text: &str) -> Result<bool, RequireError> {
        let metrics = metrics(19.5, 0.0);
        text.parse::<Requirement>()?.check(Found::One(&metrics)).map(|verdict| verdict.holds)
    }

    #[test]
    fn requirements_are_compared_in_their_unit() {
        for (text, expected) in [
            ("p99<20ms", true),
            ("p99 <= 0.0195s", true),
            ("p99>20ms", false),
            ("p99<19500us", false),
            ("died==0", true),
            ("died=0", true),
            ("died!=0", false),
            ("rss<8KiB", false),
            ("rss>=9kB", true),
            ("cpu_per_gb<200", true),
            ("players.gap_max<100ms", false),
            ("players.gap_max!=1ms", false),
        ] {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for text in ["p99", "<20ms", "p99<", "p99<fast", "p99!20", ""] {
            assert!(matches!(holds(text), Err(RequireError::Shape(_))), "{text}");
        }
        let unknown = holds("p98<20ms").expect_err("there is none");
        assert!(unknown.to_string().starts_with("there is no metric 'p98'"), "{unknown}");
        assert!(matches!(holds("died<3ms"), Err(RequireError::Bound { .. })));
        assert!(matches!(holds("p99<3KiB"), Err(RequireError::Bound { .. })));
    }

    #[test]
    fn targets_are_compared_with_each_other() {
        let targets = [("a-b".to_owned(), metrics(24.0, 1.0)), ("floor.v2".to_owned(), metrics(20.0, 0.0))];
        let check = |text: &str| {
            let requirement: Requirement = text.parse().expect("a requirement");
            requirement.check(Found::Several(&targets)).map(|verdict| verdict.holds)
        };
        assert_eq!(check("a-b.p99<25ms"), Ok(true));
        assert_eq!(check("a-b/floor.v2.cpu_per_gb<=1.2"), Ok(true));
        assert_eq!(check("a-b/floor.v2.cpu_per_gb<=1.19"), Ok(false));
        assert_eq!(check("a-b-floor.v2.p99<=5ms"), Ok(true));
        assert!(check("nobody.p99<1ms").is_err() && check("p99<1ms").is_err());
    }

    #[test]
    fn a_verdict_is_a_sentence() {
        let verdict = "died==0".parse::<Requirement>().expect("one").check(Found::One(&metrics(1.0, 3.0)));
        assert_eq!(verdict.expect("a verdict").sentence, "died==0 does not hold: it is 3.");
    }
}
