import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { newerNodeFolder, run } from './runtime.mjs';

export const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Runs this very script again on a newer Node.js where that is needed; returns only on one that is new enough. */
export async function onNewEnoughNode(script) {
  const folder = newerNodeFolder();
  if (folder === undefined) return;
  const env = { ...process.env, PATH: `${folder}${delimiter}${process.env.PATH}` };
  process.exit(await run(join(folder, 'node'), [script, ...process.argv.slice(2)], { env }));
}

/** `npm ci`, unless what is installed is what the lockfile says. */
export async function installIfNeeded() {
  const stamp = join(root, 'node_modules', '.binnacle-installed');
  const wanted = createHash('sha256').update(readFileSync(join(root, 'package-lock.json'))).digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  console.log('installing packages (npm ci)');
  const code = await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root });
  if (code !== 0) process.exit(code);
  writeFileSync(stamp, wanted);
}
