import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const dist = new URL('../dist/', import.meta.url).href;

/**
 * Runs an ES module in a process of its own, where `load('cpu-profile')` imports a file of this project, as built. Resolves to what
 * the script gives to `answer(value)`; buffers in it arrive as base64.
 */
export async function inChild<T>(script: string, execArgv: readonly string[] = []): Promise<T> {
  const prelude = `const load = (name) => import(${JSON.stringify(dist)} + name + '.js');
    const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const answer = (value) => process.stdout.write(JSON.stringify(value, (_, one) => (one?.type === 'Buffer' ? Buffer.from(one.data).toString('base64') : one)));\n`;
  const args = [...execArgv, '--input-type=module', '--eval', prelude + script];
  const { stdout } = await run(process.execPath, args, { timeout: 120_000, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 });
  return JSON.parse(stdout) as T;
}
