"""The Python client from PyPI against a cluster: typed and dynamic, watches, patches, errors, logs and exec.

Run by `clients.rs` with KUBECONFIG set; ends with 0 only if every step was seen. Needs the image of the test clusters.
"""

import sys
import threading

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.stream import stream

IMAGE = "busybox.test/busybox:1"
PATIENCE = 60


def refused(status, reason, call, *arguments, **options):
    """The call is answered with this status and reason."""
    try:
        call(*arguments, **options)
    except client.exceptions.ApiException as error:
        assert error.status == status, error
        assert f'"reason":"{reason}"' in error.body, error.body
        return
    raise AssertionError(f"{call.__name__} was not refused")


def typed(core, namespace):
    """Create, read, replace, patch in every way, list by labels and in pages, delete."""
    labels = {"app": "typed"}
    for number in range(7):
        metadata = client.V1ObjectMeta(name=f"settings-{number}", labels=labels | {"n": str(number)})
        made = core.create_namespaced_config_map(namespace, client.V1ConfigMap(metadata=metadata, data={"a": "1"}))
        assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo
    again = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="settings-0"))
    refused(409, "AlreadyExists", core.create_namespaced_config_map, namespace, again)
    refused(404, "NotFound", core.read_namespaced_config_map, "nothing", namespace)
    invalid = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="Not a name"))
    refused(422, "Invalid", core.create_namespaced_config_map, namespace, invalid)

    stale = core.read_namespaced_config_map("settings-0", namespace)
    core.patch_namespaced_config_map("settings-0", namespace, {"data": {"b": "2"}})
    stale.data = {"c": "3"}
    refused(409, "Conflict", core.replace_namespaced_config_map, "settings-0", namespace, stale)
    json_patch = [{"op": "remove", "path": "/data/a"}]
    patched = core.patch_namespaced_config_map("settings-0", namespace, json_patch)
    assert patched.data == {"b": "2"}, patched.data

    page, seen = None, []
    while page is None or page.metadata._continue:
        token = page.metadata._continue if page else None
        page = core.list_namespaced_config_map(namespace, label_selector="app=typed,n!=3", limit=2, _continue=token)
        seen += [item.metadata.name for item in page.items]
    assert seen == [f"settings-{number}" for number in (0, 1, 2, 4, 5, 6)], seen
    core.delete_collection_namespaced_config_map(namespace, label_selector="app=typed")
    assert not core.list_namespaced_config_map(namespace, label_selector="app=typed").items


def watched(core, namespace):
    """A watch from a list's version sees each change once, and its objects are typed."""
    version = core.list_namespaced_config_map(namespace).metadata.resource_version

    def change():
        core.create_namespaced_config_map(namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="watched")))
        core.patch_namespaced_config_map("watched", namespace, {"data": {"a": "1"}})
        core.delete_namespaced_config_map("watched", namespace)

    changing = threading.Thread(target=change)
    changing.start()
    events, watching = [], watch.Watch()
    for event in watching.stream(
        core.list_namespaced_config_map, namespace, resource_version=version, timeout_seconds=PATIENCE
    ):
        events.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            watching.stop()
    changing.join()
    assert events == [("ADDED", "watched"), ("MODIFIED", "watched"), ("DELETED", "watched")], events


def pod(core, namespace):
    """A pod runs; its log is read and a command runs in it."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "python"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {"name": "main", "image": IMAGE, "command": ["sh", "-c", "echo from the pod; sleep 1000"]}
            ],
        },
    }
    core.create_namespaced_pod(namespace, manifest)
    running = watch.Watch()
    for event in running.stream(
        core.list_namespaced_pod, namespace, field_selector="metadata.name=python", timeout_seconds=PATIENCE
    ):
        if event["object"].status.phase == "Running":
            running.stop()
            break
    else:
        raise AssertionError("the pod did not run")
    following = watch.Watch()
    for line in following.stream(core.read_namespaced_pod_log, "python", namespace, follow=True):
        assert line == "from the pod", line
        following.stop()
    said = stream(
        core.connect_get_namespaced_pod_exec,
        "python",
        namespace,
        command=["sh", "-c", "echo $((6 * 7)); echo no >&2"],
        stderr=True,
        stdin=False,
        stdout=True,
        tty=False,
        _preload_content=False,
    )
    said.run_forever(timeout=PATIENCE)
    assert (said.read_stdout(), said.read_stderr(), said.returncode) == ("42\n", "no\n", 0)
    core.delete_namespaced_pod("python", namespace)


def found_by_discovery(api, namespace):
    """The dynamic client finds kinds by discovery: a built-in one, applied server-side, and a custom one."""
    cluster = dynamic.DynamicClient(api)
    deployments = cluster.resources.get(api_version="apps/v1", kind="Deployment")
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "dynamic"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "dynamic"}},
            "template": {
                "metadata": {"labels": {"app": "dynamic"}},
                "spec": {"containers": [{"name": "main", "image": IMAGE}]},
            },
        },
    }
    for _ in range(2):
        applied = deployments.server_side_apply(body=body, namespace=namespace, field_manager="python")
    assert applied.metadata.generation == 1, applied
    assert [entry.manager for entry in applied.metadata.managedFields][0] == "python"
    scale = deployments.scale.get(name="dynamic", namespace=namespace)
    assert scale.kind == "Scale" and not scale.spec.replicas, scale
    deployments.delete(name="dynamic", namespace=namespace)

    definitions = cluster.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    definition = definitions.create(
        body={
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "snakes.python.test"},
            "spec": {
                "group": "python.test",
                "scope": "Namespaced",
                "names": {"plural": "snakes", "kind": "Snake"},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {
                            "openAPIV3Schema": {
                                "type": "object",
                                "properties": {
                                    "spec": {"type": "object", "properties": {"length": {"type": "integer"}}}
                                },
                            }
                        },
                    }
                ],
            },
        }
    )
    for event in definitions.watch(name="snakes.python.test", timeout=PATIENCE):
        conditions = event["object"].status.conditions or []
        if any(one.type == "Established" and one.status == "True" for one in conditions):
            break
    else:
        raise AssertionError("the definition was not established")
    cluster.resources.invalidate_cache()
    snakes = cluster.resources.get(api_version="python.test/v1", kind="Snake")
    body = {"apiVersion": "python.test/v1", "kind": "Snake", "metadata": {"name": "kaa"}, "spec": {"length": 9}}
    snakes.create(body=body, namespace=namespace)
    assert [item.spec.length for item in snakes.get(namespace=namespace).items] == [9]
    body["spec"]["length"] = "long"
    refused(422, "Invalid", snakes.replace, body=body | {"metadata": {"name": "kaa"}}, namespace=namespace)
    definitions.delete(name=definition.metadata.name)


def from_yaml(api, namespace):
    """`utils.create_from_dict`, which picks the method by kind."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "from-dict"}, "stringData": {"password": "x"}}
    made = utils.create_from_dict(api, body, namespace=namespace)
    assert made[0].data == {"password": "eA=="}, made


def main():
    config.load_kube_config()
    api = client.ApiClient()
    core = client.CoreV1Api(api)
    assert client.VersionApi(api).get_code().minor == "36"
    namespace = "python"
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
    for step in (typed, watched):
        step(core, namespace)
    pod(core, namespace)
    from_yaml(api, namespace)
    found_by_discovery(api, namespace)
    core.delete_namespace(namespace)


if __name__ == "__main__":
    sys.exit(main())
