import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Controller, Get, Injectable, Module, Post, Req } from '@nestjs/common';
import { Candidacy } from '@binnacle/cluster-state/candidacy';
import { ClusterStateUnavailable } from '@binnacle/cluster-state/cluster-state';
import { BinnacleError } from '@binnacle/contracts/errors';
import { clusterSecretHeader, dialectHeader } from '@binnacle/contracts/internal-headers';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { FastifyRequest } from 'fastify';
import { connect } from 'node:net';
import { AgentClient } from '../src/agent-client.js';
import { buildInfo } from '../src/build-info.js';
import { NodeContext } from '../src/node-context.js';
import { startNode, type RunningNode } from '../src/run-node.js';
import { ask, askAsNode, testConfig } from './testable-node.js';

@Injectable()
class Leader {
  constructor(node: NodeContext) {
    const candidacy = (): Candidacy => new Candidacy(node.state, node.clock, { lease: 'leader', candidate: node.candidate(), ttlMs: 5_000 });
    node.addPart({
      name: 'leader',
      start: async () => {
        const campaign = candidacy();
        node.candidacies.set('leader', campaign);
        campaign.start();
      },
      stop: async () => node.candidacies.get('leader')?.stop(),
    });
  }
}

@Injectable()
class Clients {
  readonly agents: AgentClient;
  constructor(node: NodeContext) {
    this.agents = new AgentClient(node);
  }
}

@Controller()
class Things {
  @Get('things/:id')
  thing(@Req() request: FastifyRequest) {
    return { params: request.params, query: request.query };
  }
  @Get('refused')
  refused() {
    throw new BinnacleError('WRITES_SKIPPED', 'Skipping writes.');
  }
  @Get('away')
  away() {
    throw new ClusterStateUnavailable('redis://user:password@redis is away');
  }
  @Get('broken')
  broken() {
    throw new Error('password=s3cret');
  }
  @Get('never')
  never() {
    return new Promise(() => {});
  }
  @Post('bytes')
  bytes(@Req() request: FastifyRequest & { rawBody?: Buffer }) {
    return { raw: request.rawBody?.toString() ?? String(request.body) };
  }
}

@Module({ controllers: [Things], providers: [Leader, Clients] })
class ThingsModule {}

let node: RunningNode;
let at: string;

beforeAll(async () => {
  node = await startNode({ roles: ['storage'], modules: [ThingsModule], defaultPort: 7403 }, testConfig());
  at = node.address;
});
afterAll(async () => node.stop());

describe('without the cluster secret', () => {
  test.each([
    ['/livez', 'text/plain; charset=utf-8', /^ok\n$/],
    ['/readyz', 'text/plain; charset=utf-8', /^ok\n$/],
    ['/readyz?verbose', 'text/plain; charset=utf-8', /^\[\+\]store_status ok\n\[\+\]cluster_state ok\nok\n$/],
    ['/metrics', 'text/plain; version=0.0.4; charset=utf-8', /^binnacle_build_info\{version="[\d.]+",node_version="[\d.]+",roles="storage"\} 1$/m],
  ])('%s is answered', async (path, type, body) => {
    const answer = await ask(at, path);
    expect([answer.status, answer.headers['content-type']]).toEqual([200, type]);
    expect(answer.text).toMatch(body);
  });

  test.each(['/healthcheck', '/metrics.json', '/expvar', '/debug', '/status', '/tiflash/store-status', '/agent/v1/leases', '/things/1', '/nowhere'])(
    '%s is refused',
    async (path) => {
      const answer = await ask(at, path);
      expect(answer.status).toBe(401);
      expect(JSON.parse(answer.text)).toMatchObject({ error: { code: 'UNAUTHENTICATED' } });
    },
  );

  test.each(['', 'x', 'secret-of-the-test-cluste', 'secret-of-the-test-cluster2', 'SECRET-OF-THE-TEST-CLUSTER'])('the secret "%s" is refused', async (secret) => {
    expect((await ask(at, '/debug', { headers: { [clusterSecretHeader]: secret } })).status).toBe(401);
  });

  test('a refused body is not read: nobody resigns a lease without the secret', async () => {
    const answer = await ask(at, '/agent/v1/leases/leader/resign', { method: 'POST', body: '{}' });
    expect(answer.status).toBe(401);
  });
});

test.each([
  ['an unknown method', 'BREW /debug HTTP/1.1\r\nhost: x\r\n\r\n', '400 Bad Request'],
  ['a head without end', `GET /debug HTTP/1.1\r\nhost: x\r\nlong: ${'x'.repeat(40_000)}\r\n\r\n`, '431 Request Header Fields Too Large'],
])('%s is answered as an error of Binnacle', async (_what, request, status) => {
  const { hostname, port } = new URL(`http://${at}`);
  const socket = connect(Number(port), hostname).end(request);
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  const [head, body] = answer.split('\r\n\r\n') as [string, string];
  expect(head).toMatch(`HTTP/1.1 ${status}\r\n`);
  expect(head).toMatch(/content-type: application\/json.*\r\n.*content-length: \d+/is);
  expect(JSON.parse(body)).toEqual({ error: { code: 'BAD_REQUEST', message: expect.any(String) } });
});

describe('every node answers', () => {
  test.each(['application/json', 'application/x-www-form-urlencoded'])('PUT /log-level with TiFlash\'s names, as %s', async (type) => {
    const put = (body: string) => askAsNode(at, '/log-level', { method: 'PUT', body, headers: { 'content-type': type } });
    const before = node.context.log.level;
    expect(await put('{"log-level":"critical"}')).toMatchObject({ status: 200, text: '' });
    expect(node.context.log.level).toBe('fatal');
    expect((await put('{"log-level":"loud"}')).text).toContain('log-level must be one of');
    for (const bad of ['{"log-level":"loud"}', '{"level":"info"}', '[]', '{', '']) expect((await put(bad)).status).toBe(400);
    expect(node.context.log.level).toBe('fatal');
    node.context.log.level = before;
  });

  test('/healthcheck in the form of gostatsd, with its self checks', async () => {
    const answer = await askAsNode(at, '/healthcheck');
    const { ok, failed } = JSON.parse(answer.text) as { ok: string[]; failed: string[] };
    expect([answer.status, failed]).toEqual([200, []]);
    expect(ok.map((line) => line.split(':')[0])).toEqual(['event-loop', 'memory', 'disk']);
  });

  test('/metrics.json with text values only', async () => {
    const answer = await askAsNode(at, '/metrics.json');
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    const metrics = JSON.parse(answer.text) as Record<string, string>;
    expect(new Set(Object.values(metrics).map((value) => typeof value))).toEqual(new Set(['string']));
    expect(Number(metrics.system_memory_total_bytes)).toBeGreaterThan(0);
  });

  test('/expvar with the command line and the memory statistics', async () => {
    const answer = await askAsNode(at, '/expvar');
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    const { cmdline, memstats } = JSON.parse(answer.text) as { cmdline: string[]; memstats: Record<string, number> };
    expect(cmdline[0]).toBeDefined();
    expect(memstats.HeapInuse).toBeGreaterThan(1_000_000);
    expect(memstats.Sys).toBeGreaterThan(memstats.HeapInuse ?? 0);
  });

  test('the store status and the probes of TiFlash, byte for byte', async () => {
    expect((await askAsNode(at, '/tiflash/store-status')).text).toBe('Running');
    expect((await askAsNode(at, '/tiflash/livez')).text).toBe('ok\n');
    expect((await askAsNode(at, '/tiflash/readyz')).text).toBe('ok\n');
    expect((await askAsNode(at, '/tiflash/readyz?verbose=1')).text).toBe('[+]store_status ok\nok\n');
  });

  test('/debug and /status as the leader once it owns the lease, and as a follower after it resigned', async () => {
    await waitUntil(() => node.context.candidacies.get('leader')?.isOwner());
    expect(JSON.parse((await askAsNode(at, '/debug')).text)).toEqual({ state: 1, version: buildInfo.version });
    expect(JSON.parse((await askAsNode(at, '/status')).text)).toEqual({ committed_index: 0, queued_writes: expect.any(Number), state: 'LEADER' });
    const leases = JSON.parse((await askAsNode(at, '/agent/v1/leases')).text) as { term: number }[];
    expect(leases).toEqual([{ name: 'leader', owner: true, term: expect.any(Number) }]);

    const body = JSON.stringify({ successor: 'another-node', reservedMs: 60_000 });
    const resigned = await askAsNode(at, '/agent/v1/leases/leader/resign', { method: 'POST', body });
    expect(JSON.parse(resigned.text)).toEqual({ resigned: true, term: leases[0]?.term });
    expect(JSON.parse((await askAsNode(at, '/debug')).text)).toMatchObject({ state: 4 });
    expect(JSON.parse((await askAsNode(at, '/status')).text)).toMatchObject({ state: 'FOLLOWER' });
    const again = await askAsNode(at, '/agent/v1/leases/leader/resign', { method: 'POST', body: '{}' });
    expect(JSON.parse(again.text)).toEqual({ resigned: false, term: null });
  });

  test.each([
    ['an unknown lease', '/agent/v1/leases/nothing/resign', '{}', 404],
    ['a successor that is no node id', '/agent/v1/leases/leader/resign', '{"successor":"a b"}', 400],
    ['a negative reservation', '/agent/v1/leases/leader/resign', '{"reservedMs":-1}', 400],
    ['a key that does not exist', '/agent/v1/leases/leader/resign', '{"sucessor":"a"}', 400],
    ['a body that is no object', '/agent/v1/leases/leader/resign', '[1]', 400],
    ['a body that is no JSON', '/agent/v1/leases/leader/resign', '{', 400],
  ])('a resignation with %s is refused', async (_, path, body, status) => {
    expect((await askAsNode(at, path, { method: 'POST', body })).status).toBe(status);
  });
});

describe('what the parts of a node serve', () => {
  test('controllers answer on the node listener', async () => {
    expect(JSON.parse((await askAsNode(at, '/things/7?a=b')).text)).toEqual({ params: { id: '7' }, query: { a: 'b' } });
  });

  test('errors come in the dialect the gateway names, and in our own without one', async () => {
    const own = await askAsNode(at, '/refused');
    expect([own.status, JSON.parse(own.text)]).toEqual([422, { error: { code: 'WRITES_SKIPPED', message: 'Skipping writes.' } }]);
    const typesense = await askAsNode(at, '/refused', { headers: { [dialectHeader]: 'typesense' } });
    expect([typesense.status, typesense.text]).toEqual([422, '{"message": "Skipping writes."}']);
    const unknown = await askAsNode(at, '/nowhere?x-typesense-api-key=k3y', { headers: { [dialectHeader]: 'tiflash' } });
    expect([unknown.status, unknown.text]).toEqual([404, 'path not found: GET /nowhere']);
    expect((await askAsNode(at, '/nowhere?x-typesense-api-key=k3y')).text).not.toContain('k3y');
  });

  test('what broke in here says nothing about itself, and an absent cluster state says when to try again', async () => {
    const broken = await askAsNode(at, '/broken');
    expect([broken.status, broken.text]).toEqual([500, '{"error":{"code":"INTERNAL","message":"internal error"}}']);
    const away = await askAsNode(at, '/away');
    expect([away.status, away.headers['retry-after']]).toEqual([503, '1']);
    expect(away.text).not.toContain('password');
  });

  test('a body over the limit is refused, one of another type reaches its handler as bytes', async () => {
    expect((await askAsNode(at, '/bytes', { method: 'POST', body: `"${'x'.repeat(3_000_000)}"` })).status).toBe(413);
    const toml = await askAsNode(at, '/bytes', { method: 'POST', headers: { 'content-type': 'application/toml' }, body: 'a = 1' });
    expect(JSON.parse(toml.text)).toEqual({ raw: 'a = 1' });
    expect(JSON.parse((await askAsNode(at, '/bytes', { method: 'POST', body: '{"a":1}' })).text)).toEqual({ raw: '{"a":1}' });
  });

  test('requests are counted by route template, method and class of status, and those without a route together', async () => {
    await askAsNode(at, '/things/8');
    await askAsNode(at, '/nowhere/8');
    const { text } = await ask(at, '/metrics');
    expect(text).toMatch(/binnacle_http_request_duration_seconds_count\{route="\/things\/:id",method="GET",status="2xx"\} \d+/);
    expect(text).toMatch(/binnacle_http_request_duration_seconds_count\{route="unmatched",method="GET",status="4xx"\} \d+/);
    expect(text).not.toContain('/things/8');
    expect(text).toContain('binnacle_cluster_state_available 1');
    // This very request is the only one outstanding.
    expect(text).toContain('binnacle_http_requests_outstanding 1');
  });
});

describe('asking another node', () => {
  const client = (): AgentClient => node.app.get(Clients).agents;
  const target = () => node.context.directory.all()[0] as NonNullable<ReturnType<typeof node.context.directory.byId>>;

  test('the answer comes parsed, whatever its status', async () => {
    expect(await client().request(target(), { method: 'GET', path: '/tiflash/store-status', timeoutMs: 5_000 })).toEqual({ status: 200, body: 'Running' });
    expect(await client().request(target(), { method: 'POST', path: '/agent/v1/leases/leader/resign', body: {}, timeoutMs: 5_000 })).toEqual({
      status: 200,
      body: { resigned: false, term: null },
    });
    expect(await client().request(target(), { method: 'GET', path: '/nowhere', timeoutMs: 5_000 })).toMatchObject({ status: 404 });
  });

  test('a node that does not answer in time, or not at all, is an error that says so', async () => {
    await expect(client().request(target(), { method: 'GET', path: '/never', timeoutMs: 50 })).rejects.toMatchObject({ code: 'UPSTREAM_TIMEOUT' });
    const gone = { ...target(), port: 1 };
    await expect(client().request(gone, { method: 'GET', path: '/livez', timeoutMs: 5_000 })).rejects.toMatchObject({
      code: 'UPSTREAM_UNREACHABLE',
      message: expect.stringContaining('ECONNREFUSED'),
    });
    const abort = AbortSignal.abort();
    await expect(client().request(target(), { method: 'GET', path: '/livez', timeoutMs: 5_000, signal: abort })).rejects.toMatchObject({
      code: 'UPSTREAM_UNREACHABLE',
    });
  });
});
