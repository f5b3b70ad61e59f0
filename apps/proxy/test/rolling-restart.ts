import type { GaleraNode } from '@binnacle/testing/galera';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { ProxyProcess } from './proxy-process.js';

export interface RestartedBackend {
  readonly id: string;
  /** When the drain began. */
  readonly sessionsBefore: number;
  /** Until nobody was there any more, or the time was over. */
  readonly drainMs: number;
  /** Sessions that were still there, by the code of what kept them. */
  readonly left: Readonly<Record<string, number>>;
  /** Stop, start, and getting what it missed. */
  readonly restartMs: number;
}

interface DrainProgress {
  readonly sessionsLeft: number;
  readonly stay: readonly { readonly code: string; readonly sessions: number }[];
}

const backTimeoutMs = 30_000;

/** One backend as an operator restarts it: drained, when it is empty stopped and started, when it is synced let in again. */
export async function restartBackend(proxy: ProxyProcess, node: GaleraNode, drainTimeoutMs: number): Promise<RestartedBackend> {
  const id = `127.0.0.1:${node.port}`;
  const path = `/api/v1/backends/${id}`;
  const progress = async (): Promise<DrainProgress> => (await proxy.api('GET', path)).body['drain'] as DrainProgress;
  const { sessionsLeft: sessionsBefore } = await progress();
  const startedAtMs = performance.now();
  const { status, body } = await proxy.api('POST', `${path}/drain`);
  if (status !== 200) throw new Error(`drain of ${id}: ${status} ${JSON.stringify(body)}`);
  const empty = waitUntil(async () => (await progress()).sessionsLeft === 0, { what: `${id} is empty`, timeoutMs: drainTimeoutMs, intervalMs: 20 });
  await empty.catch(() => undefined);
  const drainMs = performance.now() - startedAtMs;
  const left = Object.fromEntries((await progress()).stay.map(({ code, sessions }) => [code, sessions]));
  const restartedAtMs = performance.now();
  await node.shutDown();
  await node.restart();
  const restartMs = performance.now() - restartedAtMs;
  await proxy.api('DELETE', `${path}/drain`);
  const isBack = async (): Promise<boolean> => (await proxy.api('GET', path)).body['healthy'] === true;
  await waitUntil(isBack, { what: `${id} is healthy again`, timeoutMs: backTimeoutMs, intervalMs: 50 });
  return { id, sessionsBefore, drainMs, left, restartMs };
}
