//! What a client is to be warned of beside its answer: each thing once, and no more than headers can carry.
//!
//! As upstream: when all warnings together have more characters than [`ALL_CHARACTERS`], each is cut to [`CHARACTERS`], and those that are then
//! beyond are left out. What would be left out is not even kept, so that a body with a hundred thousand faults costs no more than one with a hundred.

/// Characters of all warnings that are told whole.
const ALL_CHARACTERS: usize = 4 << 10;
/// Characters of a warning beside so many others.
const CHARACTERS: usize = 256;

/// Warnings in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    list: Vec<String>,
    /// Characters of the list, no more than [`CHARACTERS`] of each.
    shown: usize,
}

impl Warnings {
    /// Adds a warning that is not there yet.
    pub(crate) fn add(&mut self, warning: String) {
        let full = self.shown > ALL_CHARACTERS;
        if full || warning.is_empty() || self.list.contains(&warning) {
            return;
        }
        self.shown += warning.chars().take(CHARACTERS).count();
        self.list.push(warning);
    }

    /// All of them, at full length.
    pub(crate) fn take(&mut self) -> Vec<String> {
        std::mem::take(self).list
    }
}

/// As headers carry them: webhooks may warn at any length, headers may not be of any length.
pub(crate) fn shortened(mut warnings: Vec<String>) -> Vec<String> {
    let characters = |warning: &String| warning.chars().count();
    if warnings.iter().map(characters).sum::<usize>() <= ALL_CHARACTERS {
        return warnings;
    }
    let mut written = 0;
    warnings.retain_mut(|warning| {
        if written >= ALL_CHARACTERS {
            return false;
        }
        if let Some((end, _)) = warning.char_indices().nth(CHARACTERS) {
            warning.truncate(end);
        }
        written += warning.chars().count();
        true
    });
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(warnings: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut kept = Warnings::default();
        warnings.into_iter().for_each(|warning| kept.add(warning));
        shortened(kept.take())
    }

    #[test]
    fn each_is_told_once_in_the_order_of_their_coming() {
        let said = ["b", "a", "b", ""].map(str::to_owned);
        assert_eq!(told(said), ["b", "a"]);
    }

    #[test]
    fn many_are_kept_only_as_far_as_headers_carry_them() {
        let many = (0..100_000).map(|n| format!("unknown field \"field-{n}\""));
        let all: Vec<String> = many.clone().collect();
        assert_eq!(told(many.clone()), shortened(all));
        let mut kept = Warnings::default();
        many.for_each(|warning| kept.add(warning));
        assert!(kept.take().len() < 200);
    }

    #[test]
    fn long_ones_are_cut_beside_others() {
        let long = "x".repeat(10_000);
        let told = told([long.clone(), "short".to_owned()]);
        assert_eq!(told, ["x".repeat(CHARACTERS), "short".to_owned()]);
        assert_eq!(shortened(vec!["x".repeat(300)]), ["x".repeat(300)]);
    }
}
