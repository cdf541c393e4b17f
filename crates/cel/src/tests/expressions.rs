//! The language: expressions with their values.

use serde_json::json;

use super::evaluate;

/// Expressions that are true.
const TRUE: &[&str] = &[
    // Arithmetic and comparison.
    "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 7 % 4 == 3 && -7 / 2 == -3",
    "2u + 3u == 5u && 1.5 + 1.5 == 3.0 && 0x10 == 16 && 1e3 == 1000.0",
    "-9223372036854775808 < 0",
    "1 == dyn(1.0) && dyn(1) == dyn(1u) && dyn(2) > dyn(1.5) && 1 < 1.5 && 2u > 1",
    "!(dyn('1') == dyn(1)) && dyn([1]) != dyn({1: 1})",
    "'a' < 'b' && b'a' < b'b' && false < true",
    "'abc' + 'def' == 'abcdef' && b'a' + b'b' == b'ab' && [1] + [2] == [1, 2]",
    "1 in [1, 2] && !('a' in ['b']) && 'a' in {'a': 1} && 1.0 in dyn([1])",
    // Logic absorbs errors.
    "true || 1 / 0 == 1",
    "1 / 0 == 1 || true",
    "!(false && 1 / 0 == 1)",
    "!(1 / 0 == 1 && false)",
    "true ? true : 1 / 0 == 1",
    "[1, 0].exists(i, 1 / i == 1) && ![0, 1].all(i, 1 / i == 2)",
    // Texts and bytes.
    r#"'\u00e9'.size() == 1 && 'é' == '\u00e9' && "\x41" == 'A' && '\101' == 'A' && r'\n'.size() == 2"#,
    r#"'''a
b''' == "a\nb" && b'\xff\x00' == b'\377\000' && bytes('é').size() == 2"#,
    "'hello'.contains('ell') && 'hello'.startsWith('he') && 'hello'.endsWith('lo')",
    "'hello'.matches('^h.*o$') && matches('a1', '[a-z][0-9]')",
    "size('😁') == 1 && size([1, 2]) == 2 && {'a': 1}.size() == 1",
    // Lists, maps, selection.
    "{'a': {'b': 1}}.a.b == 1 && {1: 'x'}[1] == 'x' && [1, 2, 3][1] == 2",
    "{1: 'x'} == {dyn(1u): 'x'} && {'a': 1, 'b': 2} == {'b': 2, 'a': 1}",
    "has(object.name) && !has(object.missing) && has(object.labels.app)",
    "object.labels['a/b'] == 'c' && object.ports[1] == 443 && object.replicas == 3",
    "object.nothing == null && object.ratio == 0.5 && type(object.replicas) == int",
    // Macros.
    "[1, 2, 3].all(i, i > 0) && [1, 2, 3].exists(i, i == 2) && [1, 2, 3].exists_one(i, i > 2)",
    "[1, 2, 3].map(i, i * 2) == [2, 4, 6] && [1, 2, 3].map(i, i > 1, i * 2) == [4, 6]",
    "[1, 2, 3].filter(i, i > 1) == [2, 3] && {'a': 1}.map(k, k) == ['a']",
    "object.containers.all(c, c.name != '') && object.containers.exists(c, c.image == 'y')",
    "[[1, 2], [3]].map(l, l.map(i, i + 1)) == [[2, 3], [4]]",
    "[1, 2].all(i, v, i < v) && {'a': 1}.exists(k, v, k == 'a' && v == 1)",
    "[3, 4].transformList(i, v, i * v) == [0, 4] && [1, 2].transformList(i, v, v > 1, v) == [2]",
    "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2} && ['x'].transformMapEntry(i, v, {v: i}) == {'x': 0}",
    "[1, 1, 2].existsOne(i, v, v == 2)",
    // Types and conversions.
    "type(1) == int && type('a') == string && type([]) == list && type(type(1)) == type",
    "type(null) == null_type && type({}) == map && type(1u) == uint && type(1.0) != int",
    "int('42') == 42 && int(3.9) == 3 && uint(3) == 3u && double('1.5') == 1.5 && string(1) == '1'",
    "string(1.0) == '1' && string(0.1) == '0.1' && string(1e21) == '1e+21' && string(true) == 'true'",
    "bool('true') && string(b'abc') == 'abc' && string(2u) == '2'",
    // Times.
    "duration('1h30m') == duration('90m') && duration('1h').getMinutes() == 60",
    "string(duration('90s')) == '90s' && duration('1.5s').getMilliseconds() == 1500",
    "timestamp('2024-02-29T12:00:00Z') + duration('24h') == timestamp('2024-03-01T12:00:00Z')",
    "timestamp('2024-01-01T00:00:00Z') - timestamp('2023-12-31T00:00:00Z') == duration('24h')",
    "timestamp('2024-05-06T07:08:09.250Z').getHours() == 7 && timestamp('2024-05-06T07:08:09.250Z').getMilliseconds() == 250",
    "timestamp('2024-05-06T07:08:09Z').getHours('America/New_York') == 3",
    "timestamp('2024-05-06T07:08:09Z').getHours('+02:00') == 9",
    "timestamp('2024-05-06T07:08:09Z').getMonth() == 4 && timestamp('2024-05-06T07:08:09Z').getDayOfWeek() == 1",
    "timestamp('2024-05-06T07:08:09Z').getDate() == 6 && timestamp('2024-05-06T07:08:09Z').getDayOfMonth() == 5",
    "string(timestamp('2024-05-06T07:08:09+02:00')) == '2024-05-06T07:08:09+02:00' && int(timestamp('1970-01-01T00:00:01Z')) == 1",
    // Optionals.
    "object.?missing.hasValue() == false && object.?name.value() == 'web'",
    "object.?missing.?deeper.orValue('d') == 'd' && object.?labels.app.orValue('d') == 'web'",
    "[1, 2][?5].orValue(9) == 9 && {'a': 1}[?'a'].value() == 1",
    "optional.of(1).or(optional.of(2)).value() == 1 && optional.none().or(optional.of(2)).value() == 2",
    "optional.ofNonZeroValue('').hasValue() == false && optional.of(1).optMap(v, v + 1).value() == 2",
    "optional.of(1).optFlatMap(v, optional.none()) == optional.none()",
    "[?object.?missing, ?object.?name] == ['web'] && {?'a': optional.none(), 'b': 1} == {'b': 1}",
    "!has(object.nothing.a) && !has(object.name.a) && object.name.?a == optional.none()",
    "!object.?nothing.a.hasValue() && object.?name.a.b.orValue('d') == 'd' && object.replicas[?0] == optional.none()",
    "[1, 2].first().value() == 1 && [].last() == optional.none()",
    // Syntax.
    "1 == 1 // a comment",
    "[1, 2,] == [1, 2] && {'a': 1,} == {'a': 1}",
    "!!true && --1 == 1 && - 1 == -1",
    ".x == x",
];

#[test]
fn these_are_true() {
    for expression in TRUE {
        assert_eq!(evaluate(expression), Ok(json!(true)), "{expression}");
    }
}

/// Expressions that have no value, and why.
const FAILING: &[(&str, &str)] = &[
    ("1 / 0", "division by zero"),
    ("1 % 0", "modulus by zero"),
    ("9223372036854775807 + 1", "integer overflow"),
    ("-9223372036854775808 / -1", "integer overflow"),
    ("1u - 2u", "unsigned integer overflow"),
    ("int(1e30)", "integer overflow"),
    ("uint(-1)", "unsigned integer overflow"),
    ("object.missing", "no such key: missing"),
    ("object.labels['nope']", "no such key: nope"),
    ("object.ports[2]", "index out of bounds: 2"),
    ("[1][3]", "index out of bounds: 3"),
    ("object.name + 1 == 2", "no such overload"),
    ("object.name.foo", "no such key: foo"),
    ("object.missing || false", "no such key: missing"),
    (
        "has(object.ports.a)",
        "unsupported index type 'string' in list",
    ),
    ("object.?ports.a", "unsupported index type 'string' in list"),
    ("object.ports.a", "unsupported index type 'string' in list"),
    ("dyn(1).foo", "no such key: foo"),
    ("dyn([1])[1.5]", "unsupported index value 1.5 in list"),
    (
        "'%s'.format(dyn([b'\\xff']))",
        "error during formatting: could not convert argument \"invalid UTF-8 in bytes, cannot convert to string\" to string",
    ),
    (
        "'%d'.format([dyn('a')])",
        "error during formatting: decimal clause can only be used on integers, was given string",
    ),
    ("'%s %s'.format(dyn([1]))", "index 1 out of range"),
    (
        "timestamp('9999-01-01T00:00:00Z') - timestamp('0001-01-01T00:00:00Z')",
        "integer overflow",
    ),
    (
        "double('1e400')",
        "type conversion error from 'string' to 'double'",
    ),
    ("int('x')", "type conversion error from 'string' to 'int'"),
    ("optional.none().value()", "optional.none() dereference"),
    (
        "timestamp('9999-12-30T00:00:00Z') + duration('72h')",
        "timestamp overflow",
    ),
    ("{'a': 1, 'a': 2}", "Failed with repeated key a"),
    ("[1, 2].map(i, 1 / (i - 1))", "division by zero"),
    ("object.replicas ? 1 : 2", "no such overload"),
];

#[test]
fn these_fail() {
    for (expression, error) in FAILING {
        assert_eq!(
            evaluate(expression),
            Err((*error).to_owned()),
            "{expression}"
        );
    }
}
