//! Prometheus' text format with the time of each sample.

use std::fmt::Write as _;

/// A text of families, each with its samples behind its head.
#[derive(Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family; nothing is written for one without samples.
    pub(super) fn family(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for sample in samples {
            self.text.push_str(name);
            for (index, (label, value)) in sample.labels.iter().enumerate() {
                self.text.push(if index == 0 { '{' } else { ',' });
                let value = value
                    .replace('\\', "\\\\")
                    .replace('"', "\\\"")
                    .replace('\n', "\\n");
                let _ = write!(self.text, "{label}=\"{value}\"");
            }
            if !sample.labels.is_empty() {
                self.text.push('}');
            }
            let _ = write!(self.text, " {}", sample.value);
            if let Some(time_ms) = sample.time_ms {
                let _ = write!(self.text, " {time_ms}");
            }
            self.text.push('\n');
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// One value.
pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: f64,
    pub(super) time_ms: Option<i64>,
}

impl Sample {
    pub(super) fn new(labels: Vec<(&'static str, String)>, value: f64, time_ns: i64) -> Self {
        Self {
            labels,
            value,
            time_ms: (time_ns > 0).then_some(time_ns / 1_000_000),
        }
    }
}

/// Nanoseconds as seconds.
pub(super) fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_labels_and_times() {
        let mut exposition = Exposition::default();
        exposition.family("none", "gauge", "Nothing.", []);
        let labels = vec![("pod", "a\"b".to_owned())];
        exposition.family(
            "some",
            "gauge",
            "Some.",
            [Sample::new(labels, 1.5, 2_000_000)],
        );
        let expected = "# HELP some Some.\n# TYPE some gauge\nsome{pod=\"a\\\"b\"} 1.5 2\n";
        assert_eq!(exposition.into_text(), expected);
    }
}
