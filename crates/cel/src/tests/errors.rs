//! What is refused when it is compiled, in upstream's words.

use super::environment;
use crate::{Declaration, Environment, Field};

const OPERAND: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// An environment whose `self` has declared fields.
fn declared() -> Environment {
    let fields = [
        Field::new("count", Declaration::int()),
        Field::new("name", Declaration::string(None)),
        Field::new(
            "tags",
            Declaration::list(Declaration::string(None), crate::ListType::Set, None),
        ),
    ];
    Environment::new().declare("self", Declaration::object("T", fields))
}

/// `line:column: message` of each issue.
fn issues(environment: &Environment, expression: &str) -> Vec<String> {
    let errors = match environment.compile(expression) {
        Ok(_) => return Vec::new(),
        Err(errors) => errors,
    };
    errors
        .issues()
        .iter()
        .map(|issue| format!("{}:{}: {}", issue.line, issue.column + 1, issue.message))
        .collect()
}

#[test]
fn syntax_errors_are_those_of_upstream() {
    let expecting = |what: &str| format!("{what} expecting {OPERAND}");
    let cases: Vec<(&str, Vec<String>)> = vec![
        (
            "x ==",
            vec![expecting("1:5: Syntax error: mismatched input '<EOF>'")],
        ),
        (
            "x.",
            vec!["1:3: Syntax error: no viable alternative at input '.'".into()],
        ),
        (
            "",
            vec![expecting("1:1: Syntax error: mismatched input '<EOF>'")],
        ),
        (
            "x # y",
            vec![
                "1:3: Syntax error: token recognition error at: '#'".into(),
                "1:5: Syntax error: extraneous input 'y' expecting <EOF>".into(),
            ],
        ),
        (
            "x = y",
            vec![
                "1:3: Syntax error: token recognition error at: '= '".into(),
                "1:5: Syntax error: extraneous input 'y' expecting <EOF>".into(),
            ],
        ),
        (
            "1 + +",
            vec![
                expecting("1:5: Syntax error: mismatched input '+'"),
                expecting("1:6: Syntax error: mismatched input '<EOF>'"),
            ],
        ),
        (
            "(1",
            vec!["1:3: Syntax error: missing ')' at '<EOF>'".into()],
        ),
        (
            "1 2 3",
            vec!["1:3: Syntax error: mismatched input '2' expecting <EOF>".into()],
        ),
        (
            "{x}",
            vec!["1:3: Syntax error: mismatched input '}' expecting ':'".into()],
        ),
        (
            "[1 2]",
            vec!["1:4: Syntax error: extraneous input '2' expecting {']', ','}".into()],
        ),
        (
            "f{{x}}",
            vec![
                "1:3: Syntax error: extraneous input '{' expecting {'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}".into(),
                "1:5: Syntax error: mismatched input '}' expecting ':'".into(),
                "1:6: Syntax error: extraneous input '}' expecting <EOF>".into(),
            ],
        ),
        ("while", vec!["1:1: reserved identifier: while".into()]),
        (
            "'a",
            vec![
                "1:1: Syntax error: token recognition error at: ''a'".into(),
                expecting("1:3: Syntax error: mismatched input '<EOF>'"),
            ],
        ),
        (
            "99999999999999999999",
            vec!["1:1: invalid int literal".into()],
        ),
        (
            "has(x)",
            vec!["1:5: invalid argument to has() macro".into()],
        ),
        (
            "[1].all(1, true)",
            vec!["1:9: argument must be a simple name".into()],
        ),
        (
            "[1].map(x.y, true)",
            vec!["1:10: argument is not an identifier".into()],
        ),
        (r"'\uD800'", vec!["1:1: invalid unicode code point".into()]),
    ];
    for (expression, expected) in cases {
        assert_eq!(issues(&environment(), expression), expected, "{expression}");
    }
}

#[test]
fn type_errors_are_those_of_upstream() {
    let cases = [
        ("self.nope == 1", "1:5: undefined field 'nope'"),
        (
            "other.x == 1",
            "1:1: undeclared reference to 'other' (in container '')",
        ),
        (
            "nope(1)",
            "1:5: undeclared reference to 'nope' (in container '')",
        ),
        (
            "self.count + 'a'",
            "1:12: found no matching overload for '_+_' applied to '(int, string)'",
        ),
        (
            "self.name.startsWith(1)",
            "1:21: found no matching overload for 'startsWith' applied to 'string.(int)'",
        ),
        (
            "self.count == 'a'",
            "1:12: found no matching overload for '_==_' applied to '(int, string)'",
        ),
        (
            "self.name.x",
            "1:10: type 'string' does not support field selection",
        ),
        (
            "self.count.all(x, true)",
            "1:5: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        (
            "self.count && true",
            "1:5: expected type 'bool' but found 'int'",
        ),
        ("[1, 'a']", "1:5: expected type 'int' but found 'string'"),
        (
            "[dyn(1), 2] == []",
            "1:10: expected type 'dyn' but found 'int'",
        ),
        // What is mixed is told of only where types are good otherwise.
        (
            "[1, 'a'] == false",
            "1:10: found no matching overload for '_==_' applied to '(list(dyn), bool)'",
        ),
        (
            "optional.of('x').optMap(y, 1) == 'a'",
            "1:31: found no matching overload for '_==_' applied to '(optional_type(int), string)'",
        ),
        (
            "timestamp(253402300800)",
            "1:11: invalid timestamp argument",
        ),
        (
            "self.tags == [1]",
            "1:11: found no matching overload for '_==_' applied to '(list(string), list(int))'",
        ),
        (
            "[1].all(i, i)",
            "1:12: expected type 'bool' but found 'int'",
        ),
        (
            "duration('x') == duration('1s')",
            "1:10: invalid duration argument",
        ),
        ("self.name.matches('[')", "1:19: invalid matches argument"),
        (
            "'a'.charAt('b') == ''",
            "1:11: found no matching overload for 'charAt' applied to 'string.(string)'",
        ),
        (
            "cel.bind(a, 1, a)",
            "1:1: undeclared reference to 'cel' (in container '')",
        ),
        (
            "jsonpatch.escapeKey('a')",
            "1:1: undeclared reference to 'jsonpatch' (in container '')",
        ),
    ];
    for (expression, expected) in cases {
        let found = issues(&declared(), expression);
        assert_eq!(
            found.first().map(String::as_str),
            Some(expected),
            "{expression}: {found:?}"
        );
    }
}

#[test]
fn errors_show_the_line_and_a_caret() {
    let error = declared()
        .compile("self.count == 1 &&\n\tself.nope")
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "ERROR: <input>:2:6: undefined field 'nope'\n |  self.nope\n | .....^"
    );
    let error = declared().compile("'é' + x").unwrap_err();
    assert_eq!(
        error.to_string(),
        "ERROR: <input>:1:7: undeclared reference to 'x' (in container '')\n | 'é' + x\n | .．....^"
    );
}
