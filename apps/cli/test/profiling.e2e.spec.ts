import { execFile } from 'node:child_process';
import { globSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { portsOf, ProductProcess, root, temporaryFolder } from './product.js';

const ports = portsOf('profiling');
const folder = temporaryFolder('profiling');
const gateway = `http://127.0.0.1:${ports.gateway}`;

/** A user's own service with the node kit in it, which does nothing but burn CPU in one function. */
const burner = `
  import fastify from ${JSON.stringify(`${root}/node_modules/fastify/fastify.js`)};
  import { mountNodeKit } from ${JSON.stringify(`${root}/libs/node-kit/dist/mount.js`)};
  const app = fastify();
  await mountNodeKit(app, { role: 'orders' });
  await app.listen({ host: '127.0.0.1', port: 0 });
  function burnCpuForTheTest() {
    let sum = 0;
    for (let index = 0; index < 3e5; index++) sum += Math.sqrt(index) % 7;
    return sum;
  }
  const turn = () => (burnCpuForTheTest(), setImmediate(turn));
  turn();
  process.on('SIGTERM', () => process.exit(0));
`;

/** The standard output of a program; a plain error where it is missing, because jest cannot report that of spawn. */
async function run(program: string, args: readonly string[], debianPackage: string): Promise<string> {
  try {
    return (await promisify(execFile)(program, args, { timeout: 100_000, maxBuffer: 64 * 2 ** 20, env: { ...process.env, PPROF_TMPDIR: folder.path } })).stdout;
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    throw new Error(code === 'ENOENT' ? `apt-get install ${debianPackage}` : `${program} ${args.join(' ')}: ${stderr}`);
  }
}

const top = (path: string, ...flags: string[]): Promise<string> => run('go', ['tool', 'pprof', ...flags, '-top', `${gateway}${path}`], 'golang-go');

function jemallocEnv(): Record<string, string> {
  const library = globSync('/usr/lib/*/libjemalloc.so.2')[0];
  if (library === undefined) throw new Error('apt-get install libjemalloc2');
  return { LD_PRELOAD: library, MALLOC_CONF: 'prof:true,prof_active:false,lg_prof_sample:17' };
}

describe('a gateway, a profiling node and a service of the user', () => {
  let redis: RedisServer;
  const processes: ProductProcess[] = [];
  const service = `${folder.path}/orders.mjs`;

  beforeAll(async () => {
    redis = await startRedis();
    writeFileSync(service, burner);
    const start = (id: string, file: string, env: Record<string, string> = {}): void => {
      const common = {
        BINNACLE_PORT_OFFSET: String(ports.offset),
        BINNACLE_DATA_DIR: `${folder.path}/${id}`,
        BINNACLE_REDIS_URL: redis.url,
        BINNACLE_NODE_ID: id,
        BINNACLE_NODE_PORT: '0',
        BINNACLE_NODE_CLUSTER_SECRET: 'the-same-on-every-node-of-this-test',
        BINNACLE_LOG_FORMAT: 'json',
      };
      processes.push(new ProductProcess([process.execPath, file], { ...common, ...env }));
    };
    start('gateway-0', 'apps/gateway/dist/main.js');
    start('profiling-0', 'apps/profiling/dist/main.js', jemallocEnv());
    start('orders-0', service);
    await waitUntil(
      async () => {
        const answer = await fetch(`${gateway}/debug/pprof/cmdline?node=orders-0`).catch(() => undefined);
        return answer?.status === 200;
      },
      { timeoutMs: 60_000, what: 'the service to answer through the gateway' },
    );
  });

  afterAll(async () => {
    await Promise.all(processes.map((each) => each.stop('SIGTERM')));
    await redis?.stop();
    folder.remove();
  });

  test('go tool pprof names the function of the service that burns the CPU', async () => {
    // Long enough for a machine on which the service gets a part of a core only: what V8 compiles again when a capture begins costs the same.
    const table = await top('/debug/pprof/profile?seconds=4&node=orders-0');
    expect(table).toMatch(/^Type: cpu/m);
    const flat = Number(/([\d.]+)%\s+[\d.]+%\s+[\d.]+\w*\s+[\d.]+%\s+burnCpuForTheTest/.exec(table)?.[1]);
    expect({ isHot: flat >= 90, table }).toEqual({ isHot: true, table });
  });

  test('node=* is one profile with the node on every sample', async () => {
    const tags = await run('go', ['tool', 'pprof', '-tags', `${gateway}/debug/pprof/profile?seconds=1&node=*`], 'golang-go');
    expect(tags).toMatch(/\bnode: Total/);
    for (const id of ['orders-0', 'profiling-0', 'gateway-0']) expect(tags).toContain(id);
  });

  test('curl gets pprof for application/protobuf, and a flame graph without it', async () => {
    const typeOf = async (...flags: string[]) =>
      run('curl', ['-sS', '-o', '/dev/null', '-w', '%{http_code} %{content_type}', ...flags, `${gateway}/debug/pprof/profile?seconds=0.2`], 'curl');
    expect(await typeOf('-H', 'Content-Type: application/protobuf')).toBe('200 application/octet-stream');
    expect(await typeOf()).toBe('200 image/svg+xml');
    expect(await typeOf('-H', 'Accept: text/html')).toBe('200 image/svg+xml');
  });

  test('curl -d resolves addresses, whatever it says of the body', async () => {
    const maps = await run('cat', [`/proc/${processes[1]?.pid()}/maps`], 'coreutils');
    const code = /^([0-9a-f]+)-[0-9a-f]+ r-xp .*\/node$/m.exec(maps)?.[1] ?? '';
    const inside = `0x${(BigInt(`0x${code}`) + 0x400000n).toString(16)}`;
    const lines = await run('curl', ['-sS', '-d', `${inside}+0x10`, `${gateway}/debug/pprof/symbol`], 'curl');
    expect(lines).toMatch(new RegExp(`^${inside} [^?\\s]\\S+\\n0x10 \\?\\?\\n$`));
  });

  test('the native heap is read by jeprof as it is, and by go tool pprof', async () => {
    expect((await fetch(`${gateway}/debug/pprof/heap`)).status).toBe(400);
    expect(await (await fetch(`${gateway}/debug/pprof/set_prof_active`)).text()).toBe('set prof.active succeed');
    await fetch(`${gateway}/debug/pprof/profile?seconds=0.2`);
    const raw = Buffer.from(await (await fetch(`${gateway}/debug/pprof/heap`)).arrayBuffer());
    writeFileSync(`${folder.path}/raw.heap`, raw);
    expect(await run('jeprof', ['--text', process.execPath, `${folder.path}/raw.heap`], 'libjemalloc-dev')).toMatch(/^Total: [\d.]+ MB/m);
    expect(await top('/debug/pprof/heap')).toMatch(/^Type: inuse_space/m);
  });

  test.each([`http://127.0.0.1:${ports.tiproxy}/debug/pprof/`, `http://127.0.0.1:${ports.tiproxy}/api/debug/pprof/`, `${gateway}/debug/pprof/`])(
    'every link of the page %s leads somewhere',
    async (page) => {
      const links = [...(await (await fetch(page)).text()).matchAll(/href="([^"]+)"/g)].map(([, href = '']) => href.replaceAll('&amp;', '&'));
      expect(links).toHaveLength(5);
      // Seconds out of range, so that nothing is captured.
      const statuses = await Promise.all(links.map(async (href) => (await fetch(new URL(href.replace(/seconds=\d+/, 'seconds=601'), page))).status));
      expect(statuses).toEqual([400, 400, 400, 200, 200]);
    },
  );

  test('each dialect says bad input in its own way', async () => {
    const said = async (url: string): Promise<[number, string]> => {
      const answer = await fetch(url);
      return [answer.status, await answer.text()];
    };
    expect(await said(`http://127.0.0.1:${ports.tiflash}/debug/pprof/profile?seconds=0`)).toEqual([400, expect.stringMatching(/^seconds must be/)]);
    expect(await said(`http://127.0.0.1:${ports.gostatsd}/debug/pprof/trace?seconds=0`)).toEqual([400, expect.stringMatching(/^seconds must be/)]);
    expect(await said(`http://127.0.0.1:${ports.tiproxy}/api/debug/pprof/trace/?seconds=0`)).toEqual([400, expect.stringMatching(/^"seconds must be/)]);
    expect(await said(`http://127.0.0.1:${ports.tiproxy}/debug/pprof/`)).toEqual([200, expect.stringContaining('<a href="profile')]);
    expect(await said(`${gateway}/debug/pprof/trace?seconds=0.1&node=*`)).toEqual([400, expect.stringContaining('node=*')]);
    expect(await said(`${gateway}/debug/pprof/profile?node=nobody`)).toEqual([404, expect.stringContaining('nobody')]);
  });
});
