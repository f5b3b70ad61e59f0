import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@binnacle/cluster-state/clock';
import { makeAuthority } from '@binnacle/testing/certificates';
import { waitUntil } from '@binnacle/testing/wait-until';
import { backendsOf, inCluster, KubernetesDiscovery, type EndpointSlice } from './kubernetes-discovery.js';

let folder = '';
let key: Buffer;
let cert: Buffer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'binnacle-kubernetes-'));
  const authority = await makeAuthority(folder);
  const issued = await authority.issue('kubernetes.default.svc');
  [key, cert] = [await readFile(issued.keyFile), await readFile(issued.certFile)];
  caFile = authority.caFile;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let caFile = '';
let server: Server;
let running: KubernetesDiscovery | undefined;
let requests: { path: string; query: URLSearchParams; authorization: string | undefined }[];
let watches: ServerResponse[];
/** What a list answers; what a watch answers before it goes on. */
let list: { status: number; version: string; items: EndpointSlice[] };
let watchStatus: number;

beforeEach(async () => {
  [requests, watches, watchStatus] = [[], [], 200];
  list = { status: 200, version: '100', items: [slice('a', '1', ['10.0.0.1'])] };
  await writeFile(join(folder, 'token'), 'first\n');
  server = createServer({ key, cert }, (request, response) => {
    const url = new URL(request.url!, 'https://x');
    requests.push({ path: url.pathname, query: url.searchParams, authorization: request.headers.authorization });
    if (url.searchParams.has('watch')) {
      response.writeHead(watchStatus);
      if (watchStatus === 200) {
        response.flushHeaders();
        watches.push(response);
      } else response.end('{}');
      return;
    }
    const { status, version, items } = list;
    response.writeHead(status).end(JSON.stringify({ kind: 'EndpointSliceList', metadata: { resourceVersion: version }, items }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(() => {
  running?.stop();
  server.close().closeAllConnections();
});

function slice(name: string, resourceVersion: string, hosts: string[], conditions: Record<string, boolean> = { ready: true }): EndpointSlice {
  const endpoints = hosts.map((host) => ({ addresses: [host], conditions, targetRef: { name: `pod-${host}` }, zone: 'east' }));
  return { metadata: { name, resourceVersion }, addressType: 'IPv4', ports: [{ name: 'mysql', port: 3306 }], endpoints };
}

function follow(): { discovery: KubernetesDiscovery; hosts: () => string; lists: () => number } {
  const discovery = new KubernetesDiscovery({
    namespace: 'shop',
    service: 'db',
    port: 'mysql',
    cluster: 'default',
    clock: systemClock,
    server: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tokenFile: join(folder, 'token'),
    caFile,
  });
  running = discovery;
  discovery.start(() => {});
  return { discovery, hosts: () => discovery.current().map(({ host }) => host).join(' '), lists: () => requests.filter(({ query }) => !query.has('watch')).length };
}

const say = (type: string, object: unknown): void => void watches.at(-1)!.write(`${JSON.stringify({ type, object })}\n`);

test('ready endpoints are listed with the token of the account, then watched', async () => {
  const { discovery, hosts } = follow();
  await waitUntil(() => watches.length === 1);
  expect(requests[0]).toMatchObject({ path: '/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices', authorization: 'Bearer first' });
  expect(requests[0]!.query.get('labelSelector')).toBe('kubernetes.io/service-name=db');
  expect(requests[1]!.query.get('resourceVersion')).toBe('100');
  expect(discovery.current()).toEqual([{ host: '10.0.0.1', port: 3306, cluster: 'default', names: ['pod-10.0.0.1'], labels: { zone: 'east' } }]);
  say('MODIFIED', slice('a', '101', ['10.0.0.1', '10.0.0.2']));
  await waitUntil(() => hosts() === '10.0.0.1 10.0.0.2');
  say('ADDED', slice('b', '102', ['10.0.0.3']));
  await waitUntil(() => hosts() === '10.0.0.1 10.0.0.2 10.0.0.3');
  say('DELETED', slice('a', '103', []));
  await waitUntil(() => hosts() === '10.0.0.3');
});

test('an event that comes in pieces is one event', async () => {
  const { hosts } = follow();
  await waitUntil(() => watches.length === 1);
  const text = `${JSON.stringify({ type: 'MODIFIED', object: slice('a', '101', ['10.0.0.7']) })}\n`;
  watches[0]!.write(text.slice(0, 50));
  await new Promise((resolve) => setImmediate(resolve));
  watches[0]!.write(text.slice(50));
  await waitUntil(() => hosts() === '10.0.0.7');
});

test('a watch that ends is taken up where it was, with the newest token, and nothing is listed again', async () => {
  const { hosts, lists } = follow();
  await waitUntil(() => watches.length === 1);
  say('BOOKMARK', { metadata: { resourceVersion: '150' } });
  await writeFile(join(folder, 'token'), 'second');
  watches[0]!.end();
  await waitUntil(() => watches.length === 2);
  expect(requests.at(-1)).toMatchObject({ authorization: 'Bearer second' });
  expect(requests.at(-1)!.query.get('resourceVersion')).toBe('150');
  say('MODIFIED', slice('a', '151', ['10.0.0.9']));
  await waitUntil(() => hosts() === '10.0.0.9');
  expect(lists()).toBe(1);
});

test('when the API server has forgotten, everything is listed again', async () => {
  const { hosts, lists } = follow();
  await waitUntil(() => watches.length === 1);
  list = { status: 200, version: '900', items: [slice('c', '900', ['10.0.0.5'])] };
  say('ERROR', { kind: 'Status', code: 410, message: 'too old resource version' });
  await waitUntil(() => hosts() === '10.0.0.5');
  expect(lists()).toBe(2);
  await waitUntil(() => requests.at(-1)!.query.get('resourceVersion') === '900');
});

test('an API server in trouble leaves what it said last, and says so', async () => {
  const { discovery, hosts } = follow();
  await waitUntil(() => watches.length === 1);
  watchStatus = 503;
  watches[0]!.destroy();
  await waitUntil(() => discovery.problem().includes('the API server answers 503'));
  expect(hosts()).toBe('10.0.0.1');
  watchStatus = 200;
  await waitUntil(() => watches.length === 2);
  say('MODIFIED', slice('a', '101', ['10.0.0.2']));
  await waitUntil(() => hosts() === '10.0.0.2' && discovery.problem() === '');
});

test('what may not be listed is no empty service', async () => {
  list = { ...list, status: 403 };
  const { discovery } = follow();
  await waitUntil(() => discovery.problem() === 'the API server answers 403; what it was last counts');
  expect(discovery.looked()).toBe(false);
});

test('a pod that is being stopped and still serves is to be left; one that is not ready is none', () => {
  const stopping = slice('a', '1', ['10.0.0.1'], { ready: false, serving: true, terminating: true });
  expect(backendsOf([stopping], 'mysql', 'c')).toMatchObject([{ host: '10.0.0.1', leaving: 'its pod is being stopped' }]);
  expect(backendsOf([slice('a', '1', ['10.0.0.1'], { ready: false })], 'mysql', 'c')).toEqual([]);
  expect(backendsOf([slice('a', '1', ['10.0.0.1'], { ready: false, serving: false, terminating: true })], 'mysql', 'c')).toEqual([]);
  expect(backendsOf([slice('a', '1', ['10.0.0.1'], {})], '3307', 'c')).toMatchObject([{ port: 3307 }]);
  expect(backendsOf([slice('a', '1', ['10.0.0.1'])], 'other', 'c')).toEqual([]);
  expect(backendsOf([{ ...slice('a', '1', ['db.test']), addressType: 'FQDN' }, { metadata: { name: 'b' }, endpoints: null, ports: null }], 'mysql', 'c')).toEqual([]);
});

test('outside of a pod there is no API server', () => {
  expect(inCluster({})).toBeUndefined();
  expect(inCluster({ KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' })!.server).toBe('https://[fd00::1]:6443');
});
