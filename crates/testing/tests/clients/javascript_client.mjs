// The JavaScript client from npm against a cluster: typed calls, an informer, generic objects, server-side apply, logs and exec.
//
// Run by `clients.rs` with KUBECONFIG set; ends with 0 only if every step was seen. Needs the image of the test clusters.

import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const IMAGE = 'busybox.test/busybox:1';
const PATIENCE = 60_000;
const namespace = 'javascript';

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);

/** A promise with its ends outside, rejected when it takes too long. */
function expected(what) {
  const ends = Promise.withResolvers?.() ?? (() => {
    const made = {};
    made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
    return made;
  })();
  const timer = setTimeout(() => ends.reject(new Error(`no ${what}`)), PATIENCE);
  ends.promise.finally(() => clearTimeout(timer)).catch(() => {});
  return ends;
}

function sink() {
  const chunks = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  return { stream, text: () => Buffer.concat(chunks).toString() };
}

async function typed() {
  const made = await core.createNamespacedConfigMap({
    namespace,
    body: { metadata: { name: 'settings' }, data: { a: '1' } },
  });
  assert.ok(made.metadata.uid);
  await assert.rejects(core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'settings' } } }), {
    code: 409,
  });
  await assert.rejects(core.readNamespacedConfigMap({ namespace, name: 'nothing' }), { code: 404 });
  const replaced = await core.replaceNamespacedConfigMap({
    namespace,
    name: 'settings',
    body: { ...made, data: { a: '2' } },
  });
  assert.equal(replaced.data.a, '2');
  const list = await core.listNamespacedConfigMap({ namespace, fieldSelector: 'metadata.name=settings' });
  assert.deepEqual(list.items.map((item) => item.metadata.name), ['settings']);
}

async function informed() {
  const list = () => core.listNamespacedSecret({ namespace });
  const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/secrets`, list);
  const seen = { add: expected('add'), update: expected('update'), delete: expected('delete') };
  for (const [event, ends] of Object.entries(seen)) {
    informer.on(event, (secret) => secret.metadata.name === 'informed' && ends.resolve(secret));
  }
  informer.on('error', (error) => Object.values(seen).forEach((ends) => ends.reject(error)));
  await informer.start();
  const body = { metadata: { name: 'informed' }, stringData: { a: '1' } };
  const made = await core.createNamespacedSecret({ namespace, body });
  await seen.add.promise;
  await core.replaceNamespacedSecret({ namespace, name: 'informed', body: { ...made, data: { a: 'Mg==' } } });
  assert.equal((await seen.update.promise).data.a, 'Mg==');
  await core.deleteNamespacedSecret({ namespace, name: 'informed' });
  await seen.delete.promise;
  await informer.stop();
}

async function generic() {
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'generic', namespace },
    spec: {
      replicas: 0,
      selector: { matchLabels: { app: 'generic' } },
      template: {
        metadata: { labels: { app: 'generic' } },
        spec: { containers: [{ name: 'main', image: IMAGE }] },
      },
    },
  };
  const applied = await objects.patch(
    deployment,
    undefined,
    undefined,
    'javascript',
    true,
    k8s.PatchStrategy.ServerSideApply,
  );
  assert.equal(applied.metadata.managedFields[0].operation, 'Apply');
  const read = await objects.read({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: deployment.metadata });
  assert.equal(read.spec.strategy.rollingUpdate.maxSurge, '25%');
  const merged = await objects.patch(
    { ...deployment, spec: { paused: true } },
    undefined,
    undefined,
    undefined,
    undefined,
    k8s.PatchStrategy.MergePatch,
  );
  assert.equal(merged.spec.paused, true);
  await objects.delete(deployment);
}

async function pod() {
  const running = expected('running pod');
  const watch = new k8s.Watch(config);
  const request = await watch.watch(
    `/api/v1/namespaces/${namespace}/pods`,
    { fieldSelector: 'metadata.name=javascript' },
    (_type, object) => object.status?.phase === 'Running' && running.resolve(),
    (error) => error && error.name !== 'AbortError' && running.reject(error),
  );
  await core.createNamespacedPod({
    namespace,
    body: {
      metadata: { name: 'javascript' },
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [{ name: 'main', image: IMAGE, command: ['sh', '-c', 'echo from the pod; sleep 1000'] }],
      },
    },
  });
  await running.promise;
  request.abort();

  const logged = expected('log');
  const log = sink();
  const following = await new k8s.Log(config).log(namespace, 'javascript', 'main', log.stream, { follow: true });
  const looking = setInterval(() => log.text() === 'from the pod\n' && logged.resolve(), 20);
  await logged.promise.finally(() => clearInterval(looking));
  following.abort();

  const ended = expected('end of the command');
  const [stdout, stderr] = [sink(), sink()];
  const command = ['sh', '-c', 'echo $((6 * 7)); echo no >&2; exit 3'];
  await new k8s.Exec(config).exec(
    namespace,
    'javascript',
    'main',
    command,
    stdout.stream,
    stderr.stream,
    null,
    false,
    ended.resolve,
  );
  const status = await ended.promise;
  assert.equal(status.details.causes[0].message, '3');
  assert.deepEqual([stdout.text(), stderr.text()], ['42\n', 'no\n']);
  await core.deleteNamespacedPod({ namespace, name: 'javascript' });
}

await core.createNamespace({ body: { metadata: { name: namespace } } });
for (const step of [typed, informed, generic, pod]) {
  await step();
}
await core.deleteNamespace({ name: namespace });
