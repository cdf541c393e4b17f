//! What users add to the API: kinds of their own, and rules about everybody's objects.

use std::time::Duration;

use anyhow::ensure;
use testing::{Kubectl, eventually};

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: shirts.wardrobe.test}
spec:
  group: wardrobe.test
  scope: Namespaced
  names: {plural: shirts, singular: shirt, kind: Shirt, shortNames: [sh], categories: [clothes]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.copies, statusReplicasPath: .status.copies}
    additionalPrinterColumns:
    - {name: Colour, type: string, jsonPath: .spec.colour}
    - {name: Copies, type: integer, jsonPath: .spec.copies}
    selectableFields: [{jsonPath: .spec.colour}]
    schema:
      openAPIV3Schema:
        type: object
        description: What one wears.
        required: [spec]
        properties:
          spec:
            type: object
            required: [colour]
            x-kubernetes-validations:
            - {rule: "self.colour != 'plaid' || self.copies < 3", message: too much plaid}
            properties:
              colour: {type: string, maxLength: 20, description: The colour of the cloth.}
              copies: {type: integer, minimum: 0, default: 1}
          status:
            type: object
            properties: {copies: {type: integer}}
"#;

pub(crate) fn custom_resources(k: &Kubectl<'_>) {
    let shirt = |name: &str, spec: &str| {
        format!(
            "{{apiVersion: wardrobe.test/v1, kind: Shirt, metadata: {{name: {name}}}, spec: {spec}}}"
        )
    };
    k.apply(DEFINITION);
    k.run("wait --for=condition=Established --timeout=30s crd/shirts.wardrobe.test");
    assert_eq!(
        k.apply(&shirt("one", "{colour: red}")),
        "shirt.wardrobe.test/one created"
    );
    assert_eq!(
        k.apply(&shirt("one", "{colour: red}")),
        "shirt.wardrobe.test/one unchanged"
    );
    k.apply(&shirt("two", "{colour: blue, copies: 4}"));
    let listed = k.run("get sh");
    let rows: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows,
        [
            ["NAME", "COLOUR", "COPIES"],
            ["one", "red", "1"],
            ["two", "blue", "4"]
        ]
    );
    assert_eq!(
        k.run("get sh --field-selector spec.colour=blue -o name"),
        "shirt.wardrobe.test/two"
    );
    k.shows("get clothes", &["one", "red"]);
    k.shows("explain shirt.spec --recursive", &["colour", "copies"]);
    k.shows("explain shirt.spec.colour", &["The colour of the cloth."]);

    let refused = |spec: &str, words: &str| {
        let manifest = shirt("three", spec);
        k.refuses(&format!("apply -f - <<'END'\n{manifest}\nEND\n"), words);
    };
    refused("{copies: 1}", "spec.colour: Required value");
    refused("{colour: red, copies: few}", "must be of type integer");
    refused("{colour: plaid, copies: 3}", "too much plaid");
    refused(
        "{colour: red, sleeves: 2}",
        "unknown field \"spec.sleeves\"",
    );

    k.run("scale shirt one --replicas=3");
    assert_eq!(
        k.run("get shirt one -o jsonpath='{.spec.copies}/{.metadata.generation}'"),
        "3/2"
    );
    k.run(r#"patch shirt one --subresource=status --type=merge -p '{"status":{"copies":3},"spec":{"colour":"green"}}'"#);
    assert_eq!(
        k.run("get shirt one -o jsonpath='{.status.copies} {.spec.colour}'"),
        "3 red"
    );
    k.run_with(
        "apply --server-side --field-manager=tailor -f -",
        &shirt("four", "{colour: white}"),
    );
    k.shows(
        "get shirt four -o yaml --show-managed-fields",
        &["manager: tailor", "f:colour"],
    );
    k.run("label shirt --all washed=yes");
    k.run("delete shirt -l washed=yes");

    k.apply(&shirt("last", "{colour: black}"));
    k.run("delete crd shirts.wardrobe.test");
    // By its path: what a name means, kubectl may have from a document it read before.
    k.refuses(
        "get --raw /apis/wardrobe.test/v1/shirts",
        "the server could not find the requested resource",
    );
}

pub(crate) fn policies_and_quota(k: &Kubectl<'_>) {
    let namespace = k.namespace();
    k.apply(&format!(
        r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {namespace}}}
spec:
  matchConstraints:
    resourceRules: [{{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}}]
  variables: [{{name: owner, expression: "'owner' in object.metadata.?labels.orValue({{}})"}}]
  validations: [{{expression: variables.owner, messageExpression: "object.metadata.name + ' has no owner'"}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {namespace}}}
spec:
  policyName: {namespace}
  validationActions: [Deny]
  matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}}}
"#
    ));
    // A policy is followed from the moment the server has seen it, which is not the moment it was written.
    eventually(Duration::from_secs(10), || {
        let output = k.output("create configmap stray --dry-run=server");
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(complaint.contains("stray has no owner"), "{complaint:?}");
        Ok(())
    });
    k.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: kept, labels: {owner: me}}}");
    k.run(&format!(
        "delete validatingadmissionpolicybinding,validatingadmissionpolicy {namespace}"
    ));

    k.run("create quota few --hard=count/secrets=1,pods=2");
    k.until("get quota few -o jsonpath='{.status.hard.pods}'", "2");
    k.run("create secret generic first");
    k.refuses(
        "create secret generic second",
        "exceeded quota: few, requested: count/secrets=1, used: count/secrets=1, limited: count/secrets=1",
    );
    k.run("delete secret first");
    k.until(
        "get quota few -o jsonpath='{.status.used.count/secrets}'",
        "0",
    );
    k.run("create secret generic second");
}

pub(crate) fn kustomize(k: &Kubectl<'_>) {
    let directory = k
        .cluster()
        .directory()
        .join(k.namespace())
        .join("kustomize");
    for (file, content) in [
        (
            "base/kustomization.yaml",
            "resources: [deployment.yaml]\nconfigMapGenerator: [{name: settings, literals: [a=1]}]\n",
        ),
        (
            "base/deployment.yaml",
            r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: "busybox.test/busybox:0"
        command: [sleep, "1000"]
        envFrom: [{configMapRef: {name: settings}}]
"#,
        ),
        (
            "overlay/kustomization.yaml",
            r#"
resources: [../base]
namePrefix: my-
images: [{name: busybox.test/busybox, newTag: "1"}]
patches:
- target: {kind: Deployment}
  patch: |-
    - {op: replace, path: /spec/replicas, value: 2}
"#,
        ),
    ] {
        let path = directory.join(file);
        std::fs::create_dir_all(path.parent().expect("it is in a folder"))
            .expect("the directory is ours");
        std::fs::write(path, content).expect("the directory is ours");
    }
    let overlay = directory.join("overlay");
    let overlay = overlay.display();
    k.shows(
        &format!("apply -k {overlay}"),
        &["deployment.apps/my-web created", "configmap/my-settings-"],
    );
    k.run("rollout status deployment/my-web --timeout=60s");
    assert_eq!(
        k.run("get deployment my-web -o jsonpath='{.status.readyReplicas}'"),
        "2"
    );
    assert_eq!(k.run("exec deployment/my-web -- sh -c 'echo $a'"), "1");
    k.shows(
        &format!("delete -k {overlay}"),
        &["deployment.apps \"my-web\" deleted"],
    );
}
