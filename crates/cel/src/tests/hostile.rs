//! Expressions that mean harm end soon, with an error, and do not exhaust the stack.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::{cost, environment, evaluate};
use crate::{Declaration, Environment, EvalError};

#[test]
fn nesting_is_bounded() {
    let limit = Err("ERROR: <input>:-1:0: expression recursion limit exceeded: 250".to_owned());
    for depth in [300, 10_000] {
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("{1:", "}"),
            ("size(", ")"),
            ("x[", "]"),
            ("x ? x : ", ""),
        ] {
            let expression = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(evaluate(&expression), limit, "{depth} {open}");
        }
        for chain in [" + 1", ".a", "[1]", " - x"] {
            let expression = format!("x{}", chain.repeat(depth * 2));
            assert!(evaluate(&expression).is_err(), "{depth} {chain}");
        }
    }
    // What is flat may be long.
    let flat = vec!["x == 1"; 5_000].join(" && ");
    assert_eq!(evaluate(&flat), Ok(json!(true)));
    let minus = format!("{}1 == 1", "-".repeat(10_000));
    assert_eq!(evaluate(&minus), Ok(json!(true)));
    let text = format!("'{}'.size() > 0", "a".repeat(100_001));
    assert!(
        evaluate(&text)
            .unwrap_err()
            .contains("expression code point size exceeds limit")
    );
}

#[test]
fn deep_but_allowed_expressions_do_not_exhaust_the_stack() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    assert!(evaluate(&deep).is_ok());
    let loops = (0..60).fold("true".to_owned(), |inner, at| {
        format!("[1].all(i{at}, {inner})")
    });
    assert_eq!(evaluate(&loops), Ok(json!(true)));
}

#[test]
fn costs_are_bounded() {
    let list = json!({"items": (0..1000).collect::<Vec<_>>()});
    let environment = Environment::new().declare("self", Declaration::dynamic());
    let start = Instant::now();
    for expression in [
        "self.items.all(a, self.items.all(b, self.items.all(c, a + b + c >= 0)))",
        "self.items.map(a, self.items.map(b, self.items)).size() > 0",
        "lists.range(1000000000).size() > 0",
        "self.items.map(a, 'aaaaaaaaaaaaaaaaaaaa').join('bbbbbbbbbb').replace('', self.items.map(a, 'ccccccccc').join('')).size() > 0",
    ] {
        assert_eq!(
            cost(&environment, expression, &list).unwrap_err(),
            EvalError::CostLimitExceeded,
            "{expression}"
        );
    }
    // Values that share their parts are small in memory, and would be compared for ever.
    let mut doubling = "[[1]]".to_owned();
    for _ in 0..40 {
        doubling = format!("{doubling}.map(v, [v, v])");
    }
    let expression = format!("{doubling} == {doubling}");
    assert_eq!(
        cost(&environment, &expression, &list).unwrap_err(),
        EvalError::CostLimitExceeded
    );
    assert!(start.elapsed() < Duration::from_secs(60));
}

proptest! {
    #[test]
    fn the_parser_never_panics(text in "\\PC{0,60}") {
        let _ = environment().compile(&text);
    }

    #[test]
    fn what_looks_like_an_expression_never_panics(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "x", "self", "1", "-", "!", "(", ")", "[", "]", "{", "}", ".", "?", ":", ",", "+", "&&", "||", "==", "in",
                "'a'", "b'\\xff'", "1u", "1.5", "null", "true", "all", "map", "has", "optMap", "size", "`a-b`", "\"", "'''",
                "sets.contains", "exists(i, i)", "[?", ".?", "\\", "é", "\n", "r'", "0x", "1e", "//",
            ]),
            0..24,
        )
    ) {
        let _ = evaluate(&tokens.join(" "));
        let _ = evaluate(&tokens.concat());
    }
}
