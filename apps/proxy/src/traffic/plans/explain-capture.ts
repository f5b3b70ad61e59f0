import { randomUUID } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { utf8mb4GeneralCi } from '@binnacle/mysql-wire/charset';
import { openObjectStore } from '@binnacle/object-store/open-object-store';
import { readKeyFile } from '../files/encryption-key.js';
import type { S3StoreOptions } from '@binnacle/object-store/s3-store';
import { TrafficReader } from '../files/traffic-reader.js';
import { openBackend } from '../replay/replay-connection.js';
import { readTarget, replayTarget } from '../replay/replay-target.js';
import { explainRecords } from './explain-records.js';
import { encodePlans, plansFileName } from './plans-file.js';

/** A capture that has ended, and whom to ask for the plans of what is in it. Plain data: it passes between processes. It holds a password: never log it. */
export interface ExplainOrder {
  /** Absolute folders or `s3://BUCKET/PREFIX`: what the workers of one node have written. */
  readonly outputs: readonly string[];
  readonly store: S3StoreOptions;
  /** Path of the key; '': none. */
  readonly keyFile: string;
  readonly target: { readonly host: string; readonly port: number; readonly tls: boolean };
  readonly username: string;
  readonly password: string;
  /** For all of it: what has no plan by then has none. */
  readonly timeoutMs: number;
}

const answerTimeoutMs = 5_000;

/**
 * Asks for the plan of an example of every read digest in a capture, and writes them beside the traffic files of each part. They are of the capture's end, which is as near as can
 * be had without asking while traffic runs. Gives their number. Rejects with an Error for people.
 */
export async function explainCapture({ outputs, store, keyFile, target: to, username, password, timeoutMs }: ExplainOrder): Promise<number> {
  const untilMs = performance.now() + timeoutMs;
  const target = replayTarget(to, username, password, answerTimeoutMs);
  const facts = await readTarget(target).catch((cause: Error) => {
    throw new Error(`as ${username}: ${cause.message}`, { cause });
  });
  const key = keyFile === '' ? undefined : await readKeyFile(keyFile);
  const digests = new Set<string>();
  for (const output of outputs) {
    const leftMs = untilMs - performance.now();
    if (leftMs <= 0) break;
    const reader = await TrafficReader.open({ input: output, store, onWarning: () => {}, onDamage: () => {}, ...(key !== undefined && { key }) });
    try {
      const plans = await explainRecords({ records: reader.records(), open: () => openBackend(target, utf8mb4GeneralCi, 0), facts, timeoutMs: leftMs });
      await writePlans(output, store, encodePlans(plans));
      for (const { digest } of plans) digests.add(digest);
    } finally {
      await reader.close();
    }
  }
  return digests.size;
}

async function writePlans(output: string, store: S3StoreOptions, text: string): Promise<void> {
  if (!output.startsWith('s3://')) {
    const draft = join(output, `.${plansFileName}-${randomUUID()}`);
    await writeFile(draft, text, { mode: 0o600 });
    return rename(draft, join(output, plansFileName));
  }
  const opened = await openObjectStore({ ...store, url: output });
  try {
    await opened.put(plansFileName, Buffer.from(text));
  } finally {
    await opened.close();
  }
}
