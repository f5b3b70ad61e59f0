import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { portsOf, type ProductProcess, root, startEmbedded, temporaryFolder } from './product.js';

const readme = readFileSync(join(root, 'README.md'), 'utf8');
const { offset } = portsOf('readme');

/** The README's lines `curl … # answer`; an answer that ends in `…` is how the output begins. */
const examples = [...readme.matchAll(/^(curl .*?) # (.+)$/gm)].map(([, command = '', answer = '']) => ({ command, answer }));

const moved = (command: string) => command.replace(/127\.0\.0\.1:(\d+)/g, (_, port: string) => `127.0.0.1:${Number(port) + offset}`);

describe('the README', () => {
  const folder = temporaryFolder('readme');
  let product: ProductProcess;

  beforeAll(async () => {
    product = await startEmbedded('readme', folder.path);
  });

  afterAll(async () => {
    await product.stop();
    folder.remove();
  });

  test('has at least ten curl examples', () => {
    expect(examples.length).toBeGreaterThanOrEqual(10);
  });

  test.each(examples)('$command', async ({ command, answer }) => {
    const { stdout } = await promisify(execFile)('sh', ['-c', `${moved(command)} -sS --max-time 60`]);
    if (answer.endsWith('…')) expect(stdout.slice(0, answer.length - 1)).toBe(answer.slice(0, -1));
    else expect(stdout.trimEnd()).toBe(answer);
  });

  test('shows the service that mounts the node kit as it is in the examples', () => {
    expect(readme).toContain(readFileSync(join(root, 'libs/node-kit/examples/orders-service.ts'), 'utf8').trim());
  });

  test('names every app and lib in its map of folders', () => {
    for (const folderName of ['gateway', 'profiling', 'storage', 'cluster', 'health', 'ingest', 'proxy', 'cli', 'contracts', 'cluster-state', 'node-kit', 'profiler', 'testing']) {
      expect(readme).toContain(`${folderName}/`);
    }
  });
});
