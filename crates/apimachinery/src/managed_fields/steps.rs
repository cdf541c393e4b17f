//! What is under each step of one level, by step.
//!
//! A vector in order: a pod has hundreds of levels with a handful of steps each, most of them made in order, and all written in order. A
//! `BTreeMap` takes room for eleven entries for each level, which is then cold when it is written to.

/// Values by step, in the order of the steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Steps<T>(Vec<(String, T)>);

impl<T> Default for Steps<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Steps<T> {
    /// Where a step is, or where it would be.
    fn find(&self, step: &str) -> Result<usize, usize> {
        match self.0.last() {
            None => Err(0),
            // Whoever makes a level in order asks for the next step.
            Some((last, _)) if last.as_str() < step => Err(self.0.len()),
            Some(_) => self
                .0
                .binary_search_by(|(known, _)| known.as_str().cmp(step)),
        }
    }

    pub(super) fn get(&self, step: &str) -> Option<&T> {
        let at = self.find(step).ok()?;
        Some(&self.0[at].1)
    }

    pub(super) fn get_mut(&mut self, step: &str) -> Option<&mut T> {
        let at = self.find(step).ok()?;
        Some(&mut self.0[at].1)
    }

    /// In place of what was under the step.
    pub(super) fn insert(&mut self, step: String, value: T) {
        match self.find(&step) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (step, value)),
        }
    }

    pub(super) fn remove(&mut self, step: &str) {
        if let Ok(at) = self.find(step) {
            self.0.remove(at);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &T)> {
        self.0.iter().map(|(step, value)| (step, value))
    }
}

impl<T: Default> Steps<T> {
    /// What is under the step, made if there is nothing.
    pub(super) fn entry(&mut self, step: String) -> &mut T {
        let at = match self.find(&step) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (step, T::default()));
                at
            }
        };
        &mut self.0[at].1
    }
}

impl<T> FromIterator<(String, T)> for Steps<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(entries: I) -> Self {
        let entries = entries.into_iter();
        let mut steps = Self(Vec::with_capacity(entries.size_hint().0));
        for (step, value) in entries {
            steps.insert(step, value);
        }
        steps
    }
}

impl<T> IntoIterator for Steps<T> {
    type Item = (String, T);
    type IntoIter = std::vec::IntoIter<(String, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stand_in_order_whenever_they_come() {
        let mut steps: Steps<u8> = [("b", 2), ("d", 4), ("a", 1), ("b", 3)]
            .map(|(step, value)| (step.to_owned(), value))
            .into_iter()
            .collect();
        *steps.entry("c".to_owned()) += 5;
        *steps.entry("d".to_owned()) += 1;
        steps.remove("a");
        steps.remove("x");
        assert_eq!((steps.get("a"), steps.get("c")), (None, Some(&5)));
        assert_eq!(steps.get_mut("e"), None);
        let expected = [("b", 3), ("c", 5), ("d", 5)].map(|(step, value)| (step.to_owned(), value));
        assert!(steps.into_iter().eq(expected));
    }
}
