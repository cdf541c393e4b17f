//! What comes into a pod from ConfigMaps, Secrets and the pod's own fields.

use testing::Kubectl;

pub(crate) fn environment(k: &Kubectl<'_>) {
    k.run("create configmap settings --from-literal=colour=red --from-literal=size=10");
    k.run("create secret generic keys --from-literal=password='s3cret!'");
    k.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: reader, labels: {tier: front}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: "busybox.test/busybox:1"
    command: [sleep, "1000"]
    resources: {requests: {cpu: 100m}, limits: {memory: 64Mi}}
    envFrom: [{configMapRef: {name: settings}, prefix: S_}]
    env:
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: keys, key: password}}}
    - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
    - {name: BOTH, value: "$(POD_NAME)-$(S_colour)-$$(kept)"}
    volumeMounts: [{name: info, mountPath: /info}, {name: token, mountPath: /all}]
  volumes:
  - {name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - name: token
    projected: {sources: [{secret: {name: keys}}, {configMap: {name: settings, items: [{key: size, path: deep/size}]}}]}
"#,
    );
    k.wait_ready("pod/reader");
    k.shows(
        "exec reader -- env",
        &[
            "S_colour=red",
            "S_size=10",
            "PASSWORD=s3cret!",
            "POD_NAME=reader",
            "POD_IP=10.244.",
            "MEMORY=67108864",
            "BOTH=reader-red-$(kept)",
        ],
    );
    assert_eq!(k.run("exec reader -- cat /info/labels"), "tier=\"front\"");
    assert_eq!(
        k.run("exec reader -- cat /all/password /all/deep/size"),
        "s3cret!10"
    );
    k.shows(
        "exec reader -- ls /var/run/secrets/kubernetes.io/serviceaccount",
        &["ca.crt", "namespace", "token"],
    );
    k.apply(r#"{apiVersion: v1, kind: Pod, metadata: {name: lacks}, spec: {containers: [{name: main, image: "busybox.test/busybox:1", envFrom: [{configMapRef: {name: absent}}]}]}}"#);
    k.until("get pod lacks", "CreateContainerConfigError");
    k.until("describe pod lacks", r#"configmap "absent" not found"#);
}

pub(crate) fn follow_their_sources(k: &Kubectl<'_>) {
    k.run("create configmap settings --from-literal=colour=red");
    k.run("create secret generic keys --from-literal=password=old");
    k.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: "busybox.test/busybox:1"
    command: [sleep, "1000"]
    volumeMounts: [{name: settings, mountPath: /settings}, {name: keys, mountPath: /keys}]
  volumes: [{name: settings, configMap: {name: settings}}, {name: keys, secret: {secretName: keys, defaultMode: 0400}}]
"#,
    );
    k.wait_ready("pod/reader");
    assert_eq!(
        k.run("exec reader -- cat /settings/colour /keys/password"),
        "redold"
    );
    assert_eq!(k.run("exec reader -- stat -L -c %a /keys/password"), "400");
    k.run(r#"patch configmap settings --type=merge -p '{"data":{"colour":"blue","more":"1"}}'"#);
    k.run(r#"patch secret keys --type=merge -p '{"stringData":{"password":"new"}}'"#);
    k.until("exec reader -- cat /settings/colour", "blue");
    k.until("exec reader -- cat /settings/more", "1");
    k.until("exec reader -- cat /keys/password", "new");
}
