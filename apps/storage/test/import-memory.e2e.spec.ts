import { expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { guardProcess } from '@binnacle/testing/guarded-process';

/** What is read at once would be several times the size of its lines; the figure for gigabytes is the script's. */
const [megabytes, limitMegabytes] = ['60', '800'];

test('an import takes no more memory than a few batches do', async () => {
  const script = fileURLToPath(new URL('import-memory.mjs', import.meta.url));
  const trial = spawn(process.execPath, [script, megabytes, limitMegabytes], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: '' } });
  const release = guardProcess(trial.pid as number, '');
  let output = '';
  trial.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(trial, 'exit')) as [number];
  release();
  const outcome = output.split('\n').find((line) => line.startsWith('{"megabytes"'));
  expect([code, JSON.parse(outcome ?? '{}')]).toEqual([0, expect.objectContaining({ failures: 0, kept: expect.any(Number) })]);
}, 180_000);
