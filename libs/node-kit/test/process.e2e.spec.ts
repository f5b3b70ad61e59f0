import { afterEach, describe, expect, test } from '@jest/globals';
import { waitUntil } from '@binnacle/testing/wait-until';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'smol-toml';
import { buildInfo } from '../src/build-info.js';
import { ask, askAsNode, clusterSecret } from './testable-node.js';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** A node in a process of its own: what it printed, and how it ended. */
function run(args: string[], env: Record<string, string> = {}, fixture = 'bare-node') {
  const program = fileURLToPath(new URL(`./fixtures/${fixture}.mjs`, import.meta.url));
  const child = spawn(process.execPath, [program, ...args], {
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      BINNACLE_DATA_DIR: mkdtempSync(join(tmpdir(), 'binnacle-process-')),
      BINNACLE_NODE_PORT: '0',
      BINNACLE_NODE_CLUSTER_SECRET: clusterSecret,
      BINNACLE_LOG_FORMAT: 'json',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  const output = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => (output.out += String(chunk)));
  child.stderr.on('data', (chunk: Buffer) => (output.err += String(chunk)));
  const ended = once(child, 'close').then(([code]) => code as number | null);
  const address = (): Promise<string> =>
    waitUntil(() => /"address":"([^"]+)".*node runs/.exec(output.out)?.[1], { what: `node runs: ${output.err}` });
  return { child, output, ended, address };
}

describe('what only prints', () => {
  test('--version', async () => {
    const { ended, output } = run(['--version']);
    expect([await ended, output.out]).toEqual([0, `binnacle ${buildInfo.version} (node ${process.versions.node})\n`]);
  });

  test('--help lists the keys', async () => {
    const { ended, output } = run(['--help']);
    expect(await ended).toBe(0);
    expect(output.out).toContain('--gateway.api-key  (BINNACLE_GATEWAY_API_KEY;');
  });

  test('--print-config shows what counts, without secrets, and starts nothing', async () => {
    const { ended, output } = run(['--print-config', '--gateway.api-key=k3y-of-flags'], { BINNACLE_NODE_PORT: '-1', BINNACLE_PORT_OFFSET: '3' });
    expect(await ended).toBe(0);
    expect(parse(output.out)).toMatchObject({ node: { port: 7408, 'cluster-secret': '********' }, gateway: { 'api-key': '********', port: 8083 } });
    expect(output.out).not.toContain('k3y-of-flags');
  });
});

describe('what cannot start ends with 1 and one line a mistake', () => {
  test('a configuration with mistakes', async () => {
    const { ended, output } = run(['--log.level', 'loud'], { BINNACLE_GATEWAY_PROT: '1' });
    expect(await ended).toBe(1);
    expect(output.err).toBe(
      'binnacle: unknown environment variable BINNACLE_GATEWAY_PROT; did you mean "BINNACLE_GATEWAY_PORT"?\n' +
        'binnacle: log.level (from --log.level) must be one of trace, debug, info, warn, error, fatal, silent, not "loud"\n',
    );
  });

  test('a port in use', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as AddressInfo;
    const { ended, output } = run([], { BINNACLE_NODE_PORT: String(port) });
    expect(await ended).toBe(1);
    expect(output.err).toMatch(new RegExp(`^binnacle: port ${port} on 127\\.0\\.0\\.1 is in use: free it, or set node\\.port .*\n$`));
    taken.close();
  });
});

describe('what the user can mend is one line, without a stack', () => {
  const text = (lines: RegExp): RegExp => new RegExp(`^binnacle: ${lines.source}\\n$`);

  test('a folder that another process uses', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'binnacle-process-'));
    await run([], { BINNACLE_DATA_DIR: dataDir }).address();
    const { ended, output } = run([], { BINNACLE_DATA_DIR: dataDir });
    expect(await ended).toBe(1);
    expect(output.err).toMatch(text(/another process uses the data folder [^\n]*BINNACLE_DATA_DIR[^\n]*/));
  });

  test('a damaged database', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'binnacle-process-'));
    writeFileSync(join(dataDir, 'cluster-state.db'), 'no database '.repeat(1_000));
    const { ended, output } = run([], { BINNACLE_DATA_DIR: dataDir });
    expect(await ended).toBe(1);
    expect(output.err).toMatch(text(/[^\n]*cluster-state\.db[^\n]*/));
  });

  test('an address of Redis that is none', async () => {
    const { ended, output } = run(['--redis.url', 'http://:pa55word@x']);
    expect(await ended).toBe(1);
    expect(output.err).toMatch(text(/redis\.url [^\n]*/));
    expect(output.err + output.out).not.toContain('pa55word');
  });

  test('a data folder that cannot be made, and at once', async () => {
    const { ended, output } = run(['--data-dir', '/proc/nope']);
    expect(await ended).toBe(1);
    expect(output.err).toMatch(text(/the data folder \/proc\/nope cannot be used: [^\n]*data-dir[^\n]*/));
  });

  test('what a provider refuses while Nest makes it', async () => {
    const { ended, output } = run([], {}, 'refusing-node');
    expect(await ended).toBe(1);
    expect(output.err).toBe('binnacle: set this, not that\n');
    expect(output.out).not.toContain('"level":"error"');
    expect(output.out).not.toContain('    at ');
  });
});

describe('signals', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s stops the node, and it ends with 0', async (signal) => {
    const node = run([]);
    const at = await node.address();
    expect((await ask(at, '/readyz')).status).toBe(200);
    node.child.kill(signal);
    expect(await node.ended).toBe(0);
    expect(node.output.out).toContain('node stopped');
    expect(node.output.err).toBe('');
  });

  test('the echo of a Ctrl-C that a launcher passes on is no second signal', async () => {
    const node = run([]);
    await node.address();
    node.child.kill('SIGINT');
    node.child.kill('SIGINT');
    expect(await node.ended).toBe(0);
  });

  test('a part that hangs is cut off at the deadline: exit code 1, and a line that names it', async () => {
    const node = run(['--node.shutdown-deadline-ms', '1000'], {}, 'stuck-node');
    await node.address();
    node.child.kill('SIGTERM');
    expect(await node.ended).toBe(1);
    expect(node.output.out).toContain('not stopped within 1000 ms: \\"drain stuck\\" still ran');
  });

  test('a second signal ends it at once', async () => {
    const node = run([], {}, 'stuck-node');
    await node.address();
    const startedAt = performance.now();
    node.child.kill('SIGTERM');
    await waitUntil(() => node.output.out.includes('node stops'));
    await waitUntil(
      () => {
        node.child.kill('SIGTERM');
        return node.child.exitCode !== null;
      },
      { what: 'the process ends', intervalMs: 100 },
    );
    expect(await node.ended).toBe(1);
    expect(node.output.err).toContain('second SIGTERM');
    expect(performance.now() - startedAt).toBeLessThan(15_000);
  });
});

test('a key given as a flag shows neither in /expvar nor in the log', async () => {
  const node = run(['--gateway.api-key', 'k3y-of-flags']);
  const { text } = await askAsNode(await node.address(), '/expvar');
  expect(text).toContain('--gateway.api-key');
  expect(text + node.output.out).not.toContain('k3y-of-flags');
});
