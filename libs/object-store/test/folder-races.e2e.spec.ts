import { afterAll, afterEach, expect, test } from '@jest/globals';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { waitUntil } from '@binnacle/testing/wait-until';
import { FolderStore } from '../src/folder-store.js';

const folder = await mkdtemp(join(tmpdir(), 'binnacle-folder-races-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A process of its own on the folder; it ends with its standard input. */
class Racer {
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor() {
    const script = fileURLToPath(new URL('./racer.child.mjs', import.meta.url));
    this.child = spawn(process.execPath, [script, folder], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines: Interface = createInterface({ input: this.child.stdout as NodeJS.ReadableStream });
    this.#lines = lines[Symbol.asyncIterator]();
  }

  async says(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('a racer ended');
    return value;
  }

  tell(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }
}

let racers: Racer[] = [];
async function start(count: number): Promise<void> {
  racers = Array.from({ length: count }, () => new Racer());
  for (const racer of racers) expect(await racer.says()).toBe('ready');
}
afterEach(() => {
  for (const { child } of racers) child.kill('SIGKILL');
});

test('of four processes that create one object exactly one wins, twenty times', async () => {
  await start(4);
  for (let round = 0; round < 20; round++) {
    for (const racer of racers) racer.tell(`create created/${round}`);
    const answers = await Promise.all(racers.map((racer) => racer.says()));
    expect(answers.filter((answer) => answer === 'won')).toHaveLength(1);
  }
});

test('no increment of four processes is lost, and one that is killed in the middle keeps nobody out', async () => {
  await start(5);
  const store = await FolderStore.open(folder, { timeoutMs: 10_000 });
  await store.put('counter', Buffer.from('0'));
  await store.put('other', Buffer.from('0'));
  const [victim, ...others] = racers as [Racer, ...Racer[]];
  victim.tell('add other 1000000');
  for (const racer of others) racer.tell('add counter 50');
  const finished = others.map((racer) => racer.says());
  await finished[0];
  await waitUntil(async () => Number((await store.get('other'))?.body.toString()) > 0);
  victim.child.kill('SIGKILL');
  expect(await Promise.all(finished)).toEqual(['done', 'done', 'done', 'done']);
  expect((await store.get('counter'))?.body.toString()).toBe('200');
  await store.close();
});
