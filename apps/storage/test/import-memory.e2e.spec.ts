import { expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { guardProcess } from '@binnacle/testing/guarded-process';

/**
 * Of lines of some 190 bytes, whose objects are what takes memory. With the heap as V8 has it by default it is 536; the figure for
 * gigabytes is the script's.
 */
const [megabytes, limitMegabytes, textLength] = ['60', '400', '100'];

test('an import takes no more memory than a few batches do', async () => {
  const script = fileURLToPath(new URL('import-memory.mjs', import.meta.url));
  const trial = spawn(process.execPath, [script, megabytes, limitMegabytes, textLength], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: '' } });
  const release = guardProcess(trial.pid as number, '');
  let output = '';
  trial.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(trial, 'exit')) as [number];
  release();
  const outcome = output.split('\n').find((line) => line.startsWith('{"megabytes"'));
  expect([code, JSON.parse(outcome ?? '{}')]).toEqual([0, expect.objectContaining({ failures: 0, kept: expect.any(Number) })]);
});
