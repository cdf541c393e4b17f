//! Label selectors, field selectors and quantities, as they stand in queries and objects.
#![no_main]

use apimachinery::{Quantity, fields, labels};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(selector) = labels::Selector::parse(text) {
        let written = selector.to_string();
        let again = labels::Selector::parse(&written).expect("what was written parses");
        assert_eq!(again.to_string(), written);
    }
    if let Ok(selector) = fields::Selector::parse(text) {
        let _ = selector.matches(|_| Some("value"));
    }
    if let Ok(quantity) = text.parse::<Quantity>() {
        let written = quantity.to_string();
        let again: Quantity = written.parse().expect("what was written parses");
        assert_eq!(again.to_string(), written);
        assert_eq!(again.sign(), quantity.sign());
        let _ = (quantity.value(), quantity.milli_value(), quantity.as_f64());
    }
});
