//! Costs: what evaluations are charged, and what is estimated of expressions. The figures are upstream's.

use serde_json::json;

use super::cost;
use crate::{Declaration, Environment, Field, ListType};

/// Expressions with the least and the most that is estimated.
const ESTIMATES: &[(&str, u64, u64)] = &[
    ("[1, 2, 3, 4, 5].sum()", 15, 15),
    (
        "[uint(1), uint(2), uint(3), uint(4), uint(5)].max()",
        20,
        20,
    ),
    ("[1, 2, 3, 4, 5].indexOf(3)", 15, 15),
    (
        "'01234567890123456789012345678901234567890123456789'.indexOf('123')",
        5,
        5,
    ),
    ("url('https:://kubernetes.io/').getHost()", 4, 4),
    (
        "url('https:://kubernetes.io/') == url('https:://kubernetes.io/')",
        7,
        9,
    ),
    ("url('https:://kubernetes.io/') == url('http://x.b')", 5, 5),
    ("ip('192.168.0.1').family()", 3, 3),
    ("ip('192.168.0.1') == ip('192.168.0.1')", 5, 5),
    (
        "ip.isCanonical('2001:db8:3333:4444:5555:6666:7777:8888')",
        8,
        8,
    ),
    (
        "cidr('192.168.0.0/16').containsCIDR(cidr('192.0.0.0/30'))",
        7,
        11,
    ),
    ("cidr('192.168.0.0/16').containsIP('192.0.0.1')", 4, 7),
    (
        "'ABCDEFGHIJ abcdefghij'.lowerAscii() == 'abcdefghij ABCDEFGHIJ'.lowerAscii()",
        7,
        9,
    ),
    (
        "strings.quote('ABCDEFGHIJ abcdefghij') == strings.quote('ABCDEFGHIJ abcdefghij')",
        7,
        11,
    ),
    ("'abc 123 def 123'.replace('123', '456')", 3, 3),
    ("'abc 123 def 123'.split(' ')", 3, 3),
    ("'abc 123 def 123'.find('123')", 2, 2),
    (
        "quantity('200M') == quantity('0.2G') && quantity('0.2G') == quantity('200M')",
        3,
        6,
    ),
    (
        "quantity('50k').add(20).sub(quantity('100k')).asInteger() > 0",
        6,
        6,
    ),
    (
        "format.named('dns1123Subdomain').value().validate('my-name')",
        34,
        34,
    ),
    (
        "format.named('dns1123Label').value() == format.named('dns1123Label').value()",
        5,
        11,
    ),
    ("sets.contains([1, 2, 3, 4], [2, 3])", 29, 29),
    ("!sets.equivalent([2, 1], [1])", 26, 26),
    ("semver('1234.56789012345.67890123456789')", 4, 4),
    ("{'a': 1, 'b': 2}.all(k, v, v > 0)", 37, 41),
    ("{'a': 1, 'b': 2}.exists(k, v, v > 0)", 39, 43),
    ("{'a': 1, 'b': 2}.existsOne(k, v, v > 0)", 38, 40),
    ("{'a': 1, 'b': 2}.transformMap(k, v, v + 1)", 71, 71),
    ("{'a': 1, 'b': 2}.transformMap(k, v, v < 5, v + 1)", 67, 75),
    (
        "{'a': 1, 'b': 2}.transformMapEntry(k, v, {k: v + 1})",
        131,
        131,
    ),
    ("[1, 2].all(i, v, v > 0)", 17, 21),
    ("[1, 2].transformList(i, v, v + 1)", 49, 49),
    ("[1, 2].transformList(i, v, v < 5, v + 1)", 27, 53),
    (
        "authorizer.path('/healthz').check('get').allowed()",
        350_003,
        350_003,
    ),
    (
        "authorizer.group('').resource('pods').labelSelector('spec.nodeName=example-node-name.fully.qualified.domain.name.example.com')",
        1821,
        1821,
    ),
];

#[test]
fn estimates_are_those_of_upstream() {
    let environment = Environment::new().with_authorizer();
    for (expression, min, max) in ESTIMATES {
        let estimate = environment.compile(expression).unwrap().estimate();
        assert_eq!((estimate.min, estimate.max), (*min, *max), "{expression}");
    }
}

fn estimated(declaration: Declaration, expression: &str) -> u64 {
    let environment = Environment::new().declare("self", declaration);
    environment.compile(expression).unwrap().estimate().max
}

#[test]
fn sizes_come_from_declarations() {
    let numbers = |max| Declaration::list(Declaration::int(), ListType::Atomic, max);
    let cases = [
        ("self.all(x, true)", 4_718_591, 32),
        ("self.exists(x, true)", 6_291_454, 42),
    ];
    for (expression, unbounded, ten) in cases {
        assert_eq!(
            estimated(numbers(None), expression),
            unbounded,
            "{expression}"
        );
        assert_eq!(
            estimated(numbers(Some(10)), expression),
            ten,
            "{expression}"
        );
    }
    // Of types no sizes are known; the form of `matches` without a receiver has no price but its own.
    assert!(estimated(numbers(None), "type(self) == type(self)") > 100 * 10_000_000);
    assert_eq!(
        estimated(Declaration::string(None), "matches(self, self)"),
        3
    );
    // Any path is taken for one from `self`.
    assert_eq!(
        estimated(Declaration::string(Some(10)), "'a'.contains({'a': 'b'}.a)"),
        35
    );
    let contains = "self.contains('test')";
    assert_eq!(estimated(Declaration::string(None), contains), 314_574);
    assert_eq!(estimated(Declaration::string(Some(10)), contains), 5);
    // A list of texts of which nothing is bounded; each comparison as long as the constant.
    let texts = Declaration::list(Declaration::string(None), ListType::Set, None);
    assert!(estimated(texts, "self.all(x, x.startsWith('t-'))") < 10_000_000);
    // Of nested lists without bounds, four deep, the worst case is beyond everything.
    let nested = Declaration::list(numbers(None), ListType::Atomic, None);
    assert!(
        estimated(
            nested,
            "self.all(a, a.all(b, self.all(c, c.all(d, b != d))))"
        ) > 100 * 10_000_000
    );
    let object = Declaration::object(
        "T",
        [
            Field::new("min", Declaration::int()),
            Field::new("max", Declaration::int()),
        ],
    );
    assert!(
        estimated(
            object,
            "!has(self.min) || !has(self.max) || self.min <= self.max"
        ) < 20
    );
    // The items of what a choice yields count as `self` does, which has no size of its own here.
    let texts = Declaration::list(Declaration::string(None), ListType::Atomic, Some(256));
    let object = Declaration::object("T", [Field::new("texts", texts)]);
    assert!(
        estimated(
            object,
            "(has(self.texts) ? self.texts : []).exists(t, t.contains('/'))"
        ) < 10_000
    );
}

#[test]
fn evaluations_cost_what_they_cost_upstream() {
    let environment = Environment::new().declare("self", Declaration::dynamic());
    let object =
        json!({"a": {"b": 1}, "list": [1, 2], "text": "0123456789", "map": {"x": 1, "y": 2}});
    let cases = [
        ("self.a.b == 1", 4),
        ("has(self.a.b)", 2),
        ("self.list.all(v, v > 0)", 13),
        ("self.list.exists(v, v > 0)", 12),
        ("self.list.map(v, v + 1).size() == 2", 33),
        ("self.map.all(k, v, v > 0)", 13),
        ("self.text.contains('345')", 3),
        ("self.text == 'abc'", 3),
        ("self.text + self.text == ''", 5),
        ("string(self.text) + string(self.text) == ''", 8),
        ("1 in [1, 2, 3]", 3),
        ("ip('2001:db8:3333:4444:5555:6666:7777:8888').family()", 5),
        ("cidr('2001:db8::/32').containsIP('2001:db8::1')", 5),
        (
            "format.named('dns1123Label').value().validate('my-name') == optional.none()",
            12,
        ),
        ("true || self.a.b == 1", 0),
        ("self.a.b == 1 ? self.text : self.map", 6),
    ];
    for (expression, expected) in cases {
        assert_eq!(
            cost(&environment, expression, &object),
            Ok(expected),
            "{expression}"
        );
    }
}
