import { afterEach, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { once } from 'node:events';
import { connect } from 'node:net';
import { startRedis, type RedisServer } from './redis-server.js';
import { waitUntil } from './wait-until.js';

let server: RedisServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

async function ask(port: number, command: string, timeoutMs = 2_000): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error('no answer')));
  socket.write(`${command}\r\n`);
  const [data] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return data.toString().trim();
}

test('with an append-only file a write survives kill -9', async () => {
  server = await startRedis({ appendOnly: true });
  expect(await ask(server.port, 'SET a 1')).toBe('+OK');
  await server.kill9();
  await expect(ask(server.port, 'GET a')).rejects.toThrow();
  await server.restart();
  expect(await ask(server.port, 'GET a')).toBe('$1\r\n1');
});

test('a paused server accepts and does not answer until it is resumed', async () => {
  server = await startRedis();
  server.pause();
  await expect(ask(server.port, 'PING', 100)).rejects.toThrow('no answer');
  server.resume();
  expect(await ask(server.port, 'PING')).toBe('+PONG');
});

test('stop leaves neither process nor folder', async () => {
  server = await startRedis();
  const { pid, folder } = server;
  await server.stop();
  expect(() => process.kill(pid, 0)).toThrow();
  expect(existsSync(folder)).toBe(false);
});

test('with TLS there is an authority to trust and a rediss url', async () => {
  server = await startRedis({ tls: true });
  expect(server.url).toBe(`rediss://127.0.0.1:${server.port}`);
  expect(existsSync(server.caFile ?? '')).toBe(true);
});

test('a missing binary says what to install', async () => {
  const path = process.env['PATH'];
  process.env['PATH'] = '/nowhere';
  try {
    await expect(startRedis()).rejects.toThrow('apt-get install redis-server');
  } finally {
    process.env['PATH'] = path;
  }
});

test('a guarded process ends when the one that guards it is killed', async () => {
  const victim = spawn('sleep', ['60'], { stdio: 'ignore' });
  const parentScript = `
    import { guardProcess } from ${JSON.stringify(new URL('./guarded-process.ts', import.meta.url).href)};
    guardProcess(Number(process.argv[1]), '/nonexistent/folder');
    process.stdout.write('guarding');
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', parentScript, String(victim.pid)], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const firstEvent = await Promise.race([once(parent.stdout, 'data').then(String), once(parent, 'exit').then(() => 'ended')]);
    expect(firstEvent).toBe('guarding');
    parent.kill('SIGKILL');
    await waitUntil(() => victim.signalCode === 'SIGKILL', { what: 'the guarded process is gone' });
  } finally {
    victim.kill('SIGKILL');
  }
});
