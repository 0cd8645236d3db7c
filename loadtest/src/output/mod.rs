//! What people and programs get to see of a run: progress, a table, JSON, a page with plots.

pub mod json;
pub mod plot;
pub mod progress;
pub mod report;
pub mod table;

use crate::{
    outcome::{Metric, Outcome},
    require::Verdict,
};

/// Everything that one call of the tool has to tell.
#[derive(Debug, Default)]
pub struct Results {
    /// The command line.
    pub command: String,
    /// When it began, seconds since 1970.
    pub unix: u64,
    /// Every run in the order of time; several of one name are rounds of a comparison.
    pub runs: Vec<Outcome>,
    /// What was required.
    pub verdicts: Vec<Verdict>,
}

impl Results {
    /// The names of what was run, each once, in the order in which they first ran.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !names.contains(&run.name.as_str()) {
                names.push(&run.name);
            }
        }
        names
    }

    /// Metrics of all runs of a name: medians.
    pub fn metrics(&self, name: &str) -> Vec<Metric> {
        let rounds: Vec<Vec<Metric>> =
            self.runs.iter().filter(|run| run.name == name).map(Outcome::metrics).collect();
        let mut metrics = rounds.first().cloned().unwrap_or_default();
        for metric in &mut metrics {
            let of =
                |round: &Vec<Metric>| round.iter().find(|other| other.name == metric.name).map(|m| m.value);
            metric.value = median(rounds.iter().filter_map(of).collect());
        }
        metrics
    }

    /// Whether targets were compared.
    pub fn is_comparison(&self) -> bool {
        self.names().len() > 1
    }
}

/// The middle one, or the mean of the middle two; what is no number does not count.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(value), 1) => *value,
        (Some(value), _) => (value + values.get(middle - 1).copied().unwrap_or(*value)) / 2.0,
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_leave_out_what_was_not_measured() {
        assert_eq!(median(vec![3.0, 1.0, f64::NAN, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 2.0]), 3.0);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn rounds_of_one_target_become_one_row() {
        let run =
            |name: &str, busy| Outcome { name: name.to_owned(), machine_busy: busy, ..Outcome::default() };
        let runs = vec![run("a", 1.0), run("b", 9.0), run("a", 3.0), run("b", 7.0), run("a", 2.0)];
        let results = Results { runs, ..Results::default() };
        assert_eq!(results.names(), ["a", "b"]);
        let busy =
            |name| results.metrics(name).into_iter().find(|m| m.name == "machine_busy").map(|m| m.value);
        assert_eq!((busy("a"), busy("b")), (Some(2.0), Some(8.0)));
    }
}
