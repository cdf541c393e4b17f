//! Kubernetes' libraries.

use serde_json::json;

use super::evaluate;
use crate::{
    Activation, Attributes, Authorize, Budget, Composed, Decision, Declaration, Environment, Value,
};

/// Expressions that are true.
const TRUE: &[&str] = &[
    // Texts.
    "'tacocat'.charAt(3) == 'o' && 'abc'.charAt(3) == '' && 'hello'.indexOf('l') == 2",
    "'hello'.indexOf('l', 3) == 3 && 'hello'.indexOf('z') == -1 && 'hello'.lastIndexOf('l') == 3",
    "'hello'.lastIndexOf('l', 2) == 2 && 'é-é'.lastIndexOf('é') == 2 && ''.lastIndexOf('') == 0",
    "'ta©o©αT'.lastIndexOf('©', 3) == 2 && 'abc'.indexOf('a', 9) == -1 && 'abc'.indexOf('', 9) == 3",
    "['a', 'b'].join('-') == 'a-b' && ['a', 'b'].join() == 'ab' && [].join('-') == ''",
    "'TacoCat'.lowerAscii() == 'tacocat' && 'TacoCÆt'.upperAscii() == 'TACOCÆT'",
    "'hello hello'.replace('he', 'we') == 'wello wello' && 'hello hello'.replace('he', 'we', 1) == 'wello hello'",
    "'a b c'.split(' ') == ['a', 'b', 'c'] && 'a b c'.split(' ', 2) == ['a', 'b c'] && 'abc'.split('') == ['a', 'b', 'c']",
    "'a b'.split(' ', 0) == [] && 'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco'",
    "'  a '.trim() == 'a' && strings.quote('a\\n\"b') == '\"a\\\\n\\\\\"b\"'",
    "'%s is %d, %.2f, %b, %o, %x, %X, %e, %%'.format([dyn('a'), 1, 2.0, 5, 8, 255, 'hi', 1.5]) == 'a is 1, 2.00, 101, 10, ff, 6869, 1.500000×10⁰⁰, %'",
    "'%s'.format([[dyn(1), 'a', null]]) == '[1, \"a\", null]' && '%s'.format([{'b': [1.5], 'a': true}]) == '{\"a\":true, \"b\":[1.500000]}'",
    "'%s'.format([[duration('2m'), dyn(timestamp(0)), b'x']]) == '[duration(\"120s\"), timestamp(\"1970-01-01T00:00:00Z\"), b\"x\"]'",
    "'%f %.1f'.format([1234567.891, -1000.0]) == '1,234,567.891000 -1,000.0' && '%.2e'.format([-0.00012]) == '-1.200000×10⁻⁰⁴'",
    "'%f'.format([double('Infinity')]) == '∞' && '%s'.format([1e10]) == '1e+10' && '%f'.format(['NaN']) == 'NaN'",
    // Times are printed with the offset in which they were written, and reach to the end of the year 9999.
    "string(timestamp('2024-01-02T03:04:05.5+02:00') + duration('1h')) == '2024-01-02T04:04:05.5+02:00'",
    "timestamp('2024-01-02T03:04:05+02:00') == timestamp('2024-01-02T01:04:05Z') && timestamp('2024-01-02T03:04:05+02:00').getHours() == 1",
    "timestamp('9999-12-31T23:59:59Z').getDate() == 31 && string(timestamp('0001-01-01T00:00:00.1234567891Z')) == '0001-01-01T00:00:00.123456789Z'",
    "string(1000000.0) == '1e+06' && string(100000.0) == '100000' && string(0.0) == '0' && string(duration('-1.5s')) == '-1.5s'",
    // Lists.
    "[1, 2, 2].isSorted() && !['b', 'a'].isSorted() && [1, 2].sum() == 3 && [1.5, 2.5].sum() == 4.0",
    "[1, 3, 2].max() == 3 && ['b', 'a'].min() == 'a' && [1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2",
    "[duration('1s'), duration('2s')].sum() == duration('3s') && [1, 2].indexOf(5) == -1",
    "[1, 2, 3, 4].slice(1, 3) == [2, 3] && [[1], [2, 3]].flatten() == [1, 2, 3] && lists.range(3) == [0, 1, 2]",
    "[1, 2, 3].reverse() == [3, 2, 1] && [1, 2, 1].distinct() == [1, 2] && [3, 1, 2].sort() == [1, 2, 3]",
    "['bb', 'a'].sortBy(s, s.size()) == ['a', 'bb'] && [dyn([dyn(1), dyn([2])])].flatten(2) == [1, 2]",
    // Sets.
    "sets.contains([1, 2], [2]) && sets.equivalent([1, 1], [1]) && sets.intersects([1], [1, 2]) && !sets.intersects([1], [])",
    // Patterns.
    "'abc 123'.find('[0-9]+') == '123' && 'abc'.find('x') == '' && 'a1b2'.findAll('[0-9]') == ['1', '2']",
    "'a1b2'.findAll('[0-9]', 1) == ['1'] && 'a'.findAll('[0-9]') == []",
    // URLs.
    "isURL('https://a.b/c') && !isURL('a b') && isURL('/path') && !isURL('../x')",
    "url('https://user@example.com:80/a%20b/c?x=1&x=2&y=%20z#f').getHost() == 'example.com:80'",
    "url('https://[::1]:80/').getHostname() == '::1' && url('https://[::1]:80/').getPort() == '80'",
    "url('https://e.com/a b').getEscapedPath() == '/a%20b' && url('HTTP://e.com').getScheme() == 'http'",
    "url('https://e.com/?x=1&x=2&y=%20z').getQuery() == {'x': ['1', '2'], 'y': [' z']}",
    // Quantities.
    "isQuantity('1.3G') && !isQuantity('10MI') && quantity('1Gi').isGreaterThan(quantity('500Mi'))",
    "quantity('150Mi').compareTo(quantity('100Mi')) == 1 && quantity('50k').asInteger() == 50000",
    "quantity('1500m').asApproximateFloat() == 1.5 && !quantity('1500m').isInteger() && sign(quantity('-1')) == -1",
    "quantity('1k').add(quantity('500')) == quantity('1500') && quantity('50k').sub(20000) == quantity('30k')",
    // Addresses.
    "isIP('10.0.0.1') && !isIP('10.0.0.256') && !isIP('010.0.0.1') && ip('::1').family() == 6",
    "ip('127.0.0.1').isLoopback() && ip('0.0.0.0').isUnspecified() && ip('169.254.1.1').isLinkLocalUnicast()",
    "ip('8.8.8.8').isGlobalUnicast() && ip('224.0.0.1').isLinkLocalMulticast() && string(ip('2001:DB8::1')) == '2001:db8::1'",
    "ip.isCanonical('2001:db8::1') && !ip.isCanonical('2001:DB8::1') && ip('::1') == ip('0::1')",
    "isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/33') && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
    "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))",
    "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.0.0.0/8').prefixLength() == 8",
    "string(cidr('10.0.0.0/8')) == '10.0.0.0/8' && cidr('10.0.0.0/8').ip() == ip('10.0.0.0')",
    // Formats.
    "!format.dns1123Label().validate('my-name').hasValue() && format.dns1123Label().validate('A').value().size() == 1",
    "format.named('uuid').value().validate('123e4567-e89b-12d3-a456-426614174000') == optional.none()",
    "!format.named('nope').hasValue() && format.dns1123LabelPrefix().validate('a-') == optional.none()",
    "format.date().validate('2021-02-30').hasValue() && !format.datetime().validate('2021-01-01T00:00:00Z').hasValue()",
    "format.byte().validate('aGVsbG8=') == optional.none() && format.uri().validate('x').hasValue()",
    // Versions.
    "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-alpha').compareTo(semver('1.0.0')) == -1",
    "isSemver('1.2.3-rc.1+b') && !isSemver('1.2') && isSemver('v1.2', true) && semver('v01.02', true) == semver('1.2.0')",
    "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3').patch() == 3",
];

#[test]
fn these_are_true() {
    for expression in TRUE {
        assert_eq!(evaluate(expression), Ok(json!(true)), "{expression}");
    }
}

struct Pods;

impl Authorize for Pods {
    fn authorize(&self, attributes: &Attributes) -> Decision {
        let who = attributes
            .service_account
            .as_ref()
            .map(|(_, name)| name.as_str());
        Decision {
            allowed: attributes.resource == "pods"
                && attributes.verb == "create"
                && who != Some("other"),
            reason: format!("{}/{}", attributes.namespace, attributes.subresource),
            error: None,
        }
    }
}

#[test]
fn authorizer_asks_the_caller() {
    let environment = Environment::new().with_authorizer();
    let cases = [
        (
            "authorizer.group('').resource('pods').namespace('x').check('create').allowed()",
            json!(true),
        ),
        (
            "authorizer.group('').resource('pods').subresource('log').check('get').allowed()",
            json!(false),
        ),
        (
            "authorizer.group('').resource('pods').namespace('x').subresource('log').check('get').reason()",
            json!("x/log"),
        ),
        (
            "authorizer.serviceAccount('ns', 'other').group('').resource('pods').check('create').allowed()",
            json!(false),
        ),
        (
            "authorizer.path('/healthz').check('get').errored()",
            json!(false),
        ),
        (
            "authorizer.requestResource.check('create').allowed()",
            json!(true),
        ),
        (
            "authorizer.group('').resource('pods').labelSelector('a=b').fieldSelector('c=d').check('create').error()",
            json!(""),
        ),
    ];
    for (expression, expected) in cases {
        let program = environment.compile(expression).unwrap();
        let asked = Attributes {
            resource: "pods".into(),
            ..Attributes::default()
        };
        let activation = Activation::new()
            .with("authorizer", Value::authorizer(&Pods))
            .with(
                "authorizer.requestResource",
                Value::resource_check(&Pods, asked),
            );
        let value = program
            .evaluate(&activation, &mut Budget::default())
            .unwrap();
        assert_eq!(value.to_json(), Some(expected), "{expression}");
    }
    // Two checks fit into one evaluation, three do not.
    let thrice = "[1, 2, 3].all(i, authorizer.requestResource.check('create').allowed())";
    let program = environment.compile(thrice).unwrap();
    let asked = Attributes {
        resource: "pods".into(),
        ..Attributes::default()
    };
    let activation = Activation::new().with(
        "authorizer.requestResource",
        Value::resource_check(&Pods, asked),
    );
    assert_eq!(
        program
            .evaluate(&activation, &mut Budget::default())
            .unwrap_err(),
        crate::EvalError::CostLimitExceeded
    );
}

#[test]
fn variables_are_evaluated_once_and_when_needed() {
    let base = Environment::new().declare("object", Declaration::dynamic());
    let composed = vec![
        Composed {
            name: "a".into(),
            program: base.compile("object.replicas + 1").unwrap(),
        },
        Composed {
            name: "bad".into(),
            program: base.compile("object.missing").unwrap(),
        },
        Composed {
            name: "b".into(),
            program: base
                .clone()
                .declare("variables", Declaration::dynamic())
                .compile("variables.a * 2")
                .unwrap(),
        },
    ];
    let environment = base.declare("variables", Declaration::dynamic());
    let object = json!({"replicas": 3});
    let activation = Activation::new()
        .with("object", Value::from_json(&object, None))
        .with_composed(&composed);
    let program = environment
        .compile("variables.b == 8 && variables.a == 4")
        .unwrap();
    let mut budget = Budget::default();
    let value = program.evaluate(&activation, &mut budget).unwrap();
    assert_eq!(value.as_bool(), Some(true));
    let first = budget.remaining();
    program.evaluate(&activation, &mut budget).unwrap();
    let again = first - budget.remaining();
    assert!(
        again < crate::RUNTIME_COST_BUDGET - first,
        "the second time variables cost nothing"
    );
    let bad = environment.compile("variables.bad == 1").unwrap();
    assert_eq!(
        bad.evaluate(&activation, &mut budget)
            .unwrap_err()
            .to_string(),
        "no such key: missing"
    );
}

#[test]
fn mutations_make_objects() {
    let environment = Environment::new()
        .declare("object", Declaration::dynamic())
        .with_mutation();
    let object = json!({"metadata": {"labels": {}}});
    let evaluate = |expression: &str| {
        let program = environment.compile(expression).unwrap();
        let activation = Activation::new().with("object", Value::from_json(&object, None));
        let value = program
            .evaluate(&activation, &mut Budget::default())
            .unwrap();
        (value.to_json().unwrap(), value.check_object_names())
    };
    assert_eq!(
        evaluate(
            "Object{metadata: Object.metadata{labels: Object.metadata.labels{a: 'b'}}, spec: Object.spec{replicas: 1}}"
        ),
        (
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 1}}),
            Ok(())
        )
    );
    assert_eq!(
        evaluate("Object{spec: Object.metadata{}}").1.unwrap_err(),
        "unexpected type name \"Object.metadata\", expected \"Object.spec\", which matches field name path from root Object type"
    );
    assert_eq!(
        evaluate("[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b~c'), value: {'x': 1}}]").0,
        json!([{"op": "add", "path": "/metadata/labels/a~1b~0c", "value": {"x": 1}}])
    );
    let error = environment.compile("JSONPatch{op: 1}").unwrap_err();
    assert_eq!(
        error.issues()[0].message,
        "expected type of field 'op' is 'string' but provided type is 'int'"
    );
    let error = environment.compile("JSONPatch{opp: 1}").unwrap_err();
    assert_eq!(
        error.issues()[0].message,
        "expected type of field 'opp' is '' but provided type is 'int'"
    );
    let optional = environment.compile("[null].first()").unwrap();
    let declared = optional.result_type().declared_name();
    assert_eq!(declared, "optional_type(null_type)");
}
