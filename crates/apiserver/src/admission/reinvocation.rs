//! Asking again: when a webhook or a policy has changed an object, those before it have not seen what it became. The plugins within the
//! server are all asked once more; webhooks and policies only if they said so (`reinvocationPolicy: IfNeeded`) and the object has
//! changed since they were asked. There is no third time. As upstream's `reinvocationHandler`.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::Object;

/// Where a request stands in this.
#[derive(Debug, Default)]
pub struct Reinvocation {
    again: bool,
    wanted: bool,
    callers: BTreeMap<&'static str, Callers>,
}

/// What one plugin's webhooks or policies did.
#[derive(Debug, Default)]
struct Callers {
    /// The object as it left the plugin.
    last_output: Option<Object>,
    /// Asked, and willing to be asked again.
    asked: BTreeSet<String>,
    /// To be asked again.
    to_ask: BTreeSet<String>,
}

impl Callers {
    fn ask_again(&mut self) {
        self.to_ask.append(&mut self.asked);
    }
}

impl Reinvocation {
    /// Whether this is the second time.
    pub fn is_again(&self) -> bool {
        self.again
    }

    /// Starts the second time, if there is to be one.
    pub(super) fn begin(&mut self) -> bool {
        self.again = self.wanted;
        self.again
    }

    /// A plugin that calls out begins; the object as it finds it.
    pub(super) fn enter(&mut self, plugin: &'static str, object: Option<&Object>) {
        let again = self.again;
        let callers = self.callers.entry(plugin).or_default();
        // Whoever stands between changed it: all that may be asked again are.
        if again && callers.last_output.as_ref() != object {
            callers.ask_again();
        }
    }

    /// It is done; the object as it leaves it. Kept only while a second time may come.
    pub(super) fn leave(&mut self, plugin: &'static str, object: Option<&Object>) {
        if !self.again
            && let Some(callers) = self.callers.get_mut(plugin)
        {
            callers.last_output = object.cloned();
        }
    }

    /// Whether one of its callers is to be asked now. The second time, nobody is asked for the first time.
    pub(super) fn may_ask(&self, plugin: &'static str, caller: &str) -> bool {
        !self.again
            || self
                .callers
                .get(plugin)
                .is_some_and(|callers| callers.to_ask.contains(caller))
    }

    /// One of its callers changed the object: those before it have not seen it so.
    pub(super) fn changed(&mut self, plugin: &'static str) {
        self.wanted = true;
        self.callers.entry(plugin).or_default().ask_again();
    }

    /// A caller was asked, and is willing to be asked again.
    pub(super) fn asked(&mut self, plugin: &'static str, caller: &str) {
        let callers = self.callers.entry(plugin).or_default();
        callers.asked.insert(caller.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_saw_the_last_form_is_not_asked_again() {
        let object = |n: i64| json!({ "n": n }).as_object().unwrap().clone();
        let mut reinvocation = Reinvocation::default();
        reinvocation.enter("hooks", Some(&object(0)));
        reinvocation.asked("hooks", "first");
        reinvocation.changed("hooks");
        reinvocation.asked("hooks", "second");
        reinvocation.leave("hooks", Some(&object(1)));
        assert!(reinvocation.begin());
        reinvocation.enter("hooks", Some(&object(1)));
        assert!(
            reinvocation.may_ask("hooks", "first"),
            "the second changed it"
        );
        assert!(!reinvocation.may_ask("hooks", "second"));
        assert!(
            !reinvocation.may_ask("hooks", "third"),
            "nobody comes in late"
        );
        reinvocation.enter("hooks", Some(&object(2)));
        assert!(
            reinvocation.may_ask("hooks", "second"),
            "someone else changed it"
        );
    }
}
