import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '@binnacle/testing/free-port';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { waitUntil } from '@binnacle/testing/wait-until';
import { greets, startProxy } from '../test/proxy-process.js';

/** Something between sysbench and the server; `direct` is nothing at all. */
export interface BenchPeer {
  readonly name: string;
  readonly port: number;
  /** Undefined for `direct`. */
  readonly pid: number | undefined;
  stop(): Promise<void>;
}

/** Every peer runs on this core alone. */
const onOneCore = ['taskset', '-c', '1'];

export const direct = (port: number): BenchPeer => ({ name: 'direct', port, pid: undefined, stop: async () => {} });

export async function binnacle(backendPort: number): Promise<BenchPeer> {
  const proxy = await startProxy({ backends: [`127.0.0.1:${backendPort}`], prefix: onOneCore });
  return { name: 'Binnacle', port: proxy.port, pid: proxy.pid, stop: () => proxy.stop() };
}

export async function barePipe(backendPort: number): Promise<BenchPeer> {
  const port = await freePort();
  return startPeer('Node pipe', port, [process.execPath, fileURLToPath(new URL('pipe.mjs', import.meta.url)), String(port), String(backendPort)], tmpdir());
}

/** TCP, one thread. */
export async function haproxy(backendPort: number): Promise<BenchPeer> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-haproxy-'));
  const timeouts = ['connect 5s', 'client 1h', 'server 1h'].map((timeout) => `  timeout ${timeout}\n`).join('');
  const config = `global\n  nbthread 1\n  maxconn 9950\ndefaults\n  mode tcp\n${timeouts}listen sql\n  bind 127.0.0.1:${port}\n  server one 127.0.0.1:${backendPort}\n`;
  writeFileSync(join(folder, 'haproxy.cfg'), config);
  return startPeer('HAProxy', port, ['haproxy', '-db', '-q', '-f', join(folder, 'haproxy.cfg')], folder);
}

async function startPeer(name: string, port: number, command: readonly string[], folder: string): Promise<BenchPeer> {
  const [program, ...args] = [...onOneCore, ...command];
  const child: ChildProcess = spawn(program!, args, { stdio: 'ignore', env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` } });
  await once(child, 'spawn');
  const own = folder === tmpdir() ? mkdtempSync(join(folder, 'binnacle-peer-')) : folder;
  const unguard = guardProcess(child.pid!, own);
  await waitUntil(() => greets(port), { what: `${name} listens`, intervalMs: 50 });
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited(child);
    unguard();
    rmSync(own, { recursive: true, force: true });
  };
  return { name, port, pid: child.pid, stop };
}

/** Of a process with all its threads, in seconds. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory in kB. */
export function residentKb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted.length % 2 === 1 ? sorted[sorted.length >> 1]! : (sorted[sorted.length / 2 - 1]! + sorted[sorted.length / 2]!) / 2;
}
