import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { RowStore } from '../src/row-store.js';
import { openRows } from './testable-rows.js';

/** A stamp, or `-`: there is no such row. */
type Stamp = string;

interface Written {
  readonly acknowledged: { readonly version: number; readonly stamp: Stamp };
  /** Of a write that nobody heard of again: it happened, or it did not. */
  readonly attempted: Stamp | undefined;
}

export interface CrashRound {
  readonly round: number;
  /** Over all rounds so far. */
  readonly rowsChecked: number;
  readonly acknowledged: number;
  readonly replayedOperations: number;
  readonly tornBytes: number;
}

/** A round ends after some number of acknowledgements up to this, however long they take, and a little later. */
const writesMax = 400;
const laterMsMax = 10;
/** Stamps of a round are above those of the rounds before. */
const stampsPerRound = 10_000_000;

/**
 * Kills a process that writes, at a random moment, and opens what it left: once a round, always the same folder. Throws when an acknowledged
 * write is not there, when a row is not one that was written, or when a batch is there in part.
 */
export async function crashRounds(rounds: number, onRound: (round: CrashRound) => void = () => {}): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-crash-'));
  const written = new Map<string, Written>();
  try {
    for (let round = 1; round <= rounds; round++) {
      const count = await writeUntilKilled(folder, round * stampsPerRound, written);
      const { store, lines } = await openRows(folder);
      const rowsChecked = await check(store, written);
      await store.stop();
      const { replayedOperations, tornBytes } = lines.find(({ msg }) => msg === 'rows recovered') as unknown as CrashRound;
      onRound({ round, rowsChecked, acknowledged: count, replayedOperations, tornBytes });
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Resolves to the number of writes acknowledged. */
async function writeUntilKilled(folder: string, firstStamp: number, written: Map<string, Written>): Promise<number> {
  const script = fileURLToPath(new URL('fixtures/crash-writer.mjs', import.meta.url));
  const child = spawn(process.execPath, ['--conditions=@binnacle/source', script, folder, String(firstStamp)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const release = guardProcess(child.pid as number, folder);
  try {
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const ended = once(child.stdout, 'end');
    const wanted = Math.ceil(Math.random() * writesMax);
    const isEnough = (): boolean => text.split('\n!').length > wanted || child.exitCode !== null;
    await waitUntil(isEnough, { what: `${wanted} writes`, timeoutMs: 120_000 });
    // The one thing here that has to happen at a time of its own.
    await new Promise((resolve) => setTimeout(resolve, Math.random() * laterMsMax));
    child.kill('SIGKILL');
    await Promise.all([exited(child), ended]);
    let count = 0;
    for (const line of text.split('\n')) {
      const [kind, handle = '', ...rest] = line.split(' ');
      const before = written.get(handle)?.acknowledged ?? { version: 0, stamp: '-' };
      if (kind === '?') written.set(handle, { acknowledged: before, attempted: rest[0] });
      if (kind !== '!') continue;
      written.set(handle, { acknowledged: { version: Number(rest[0]), stamp: rest[1] as Stamp }, attempted: undefined });
      count += 1;
    }
    return count;
  } finally {
    release();
  }
}

/** Resolves to the number of rows. What was attempted and is there is as good as acknowledged from now on. */
async function check(store: RowStore, written: Map<string, Written>): Promise<number> {
  const found = new Map<string, Written['acknowledged']>();
  const groups = new Map<string, Set<Stamp>>();
  for await (const { handle, version, document } of store.scan(1)) {
    const { id, stamp, text } = JSON.parse(document.toString()) as { id: string; stamp: number; text: string };
    if (id !== handle.toString() || text !== `${stamp} `.repeat(1 + (stamp % 200))) throw new Error(`row ${handle} is not what was written: ${document}`);
    found.set(id, { version, stamp: String(stamp) });
  }
  for (const [handle, { acknowledged, attempted }] of written) {
    const row = found.get(handle) ?? { version: acknowledged.version, stamp: '-' };
    const asAcknowledged = row.stamp === acknowledged.stamp && row.version === acknowledged.version;
    if (!asAcknowledged && row.stamp !== attempted) throw new Error(`${handle}: ${JSON.stringify({ acknowledged, attempted })}, and it is ${JSON.stringify(row)}`);
    written.set(handle, { acknowledged: row, attempted: undefined });
    const group = /^group-\d+/.exec(handle)?.[0];
    if (group !== undefined) groups.set(group, (groups.get(group) ?? new Set()).add(row.stamp));
  }
  for (const [group, stamps] of groups) if (stamps.size !== 1) throw new Error(`${group} is there in part: stamps ${[...stamps].join(', ')}`);
  return found.size;
}
