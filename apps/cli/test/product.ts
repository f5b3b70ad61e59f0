import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { waitUntil } from '@binnacle/testing/wait-until';

export const root = fileURLToPath(new URL('../../..', import.meta.url));

const suites = ['embedded', 'cluster', 'readme', 'hostile', 'launch', 'profiling', 'snapshot', 'tables', 'searches', 'remote', 'sessions', 'ingest', 'traffic'] as const;
export type Suite = (typeof suites)[number];

/**
 * Every test file takes ports of its own, and every run others, so that two at a time do not meet. Offsets are multiples of 23, which no two of
 * our default ports are apart, and keep under Linux's ephemeral ports (32768 and up).
 */
export function portsOf(suite: Suite) {
  const offset = 9_000 + 23 * (suites.length * (process.pid % 11) + suites.indexOf(suite));
  return { offset, gateway: 8080 + offset, tiflash: 20_292 + offset, tiproxy: 3080 + offset, gostatsd: 8081 + offset, typesense: 8108 + offset, sql: 6000 + offset, statsd: 8125 + offset };
}

/** One process of the product, started as its users start it. */
export class ProductProcess {
  readonly #child: ChildProcess;
  #output = '';

  constructor(command: readonly string[], env: Record<string, string>) {
    const [program = '', ...args] = command;
    this.#child = spawn(program, args, { cwd: root, env: { ...process.env, NODE_OPTIONS: '', ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    this.#child.once('exit', guardProcess(this.pid(), ''));
  }

  output(): string {
    return this.#output;
  }

  pid(): number {
    return this.#child.pid ?? 0;
  }

  isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async untilPrinted(pattern: RegExp, timeoutMs = 120_000): Promise<void> {
    await waitUntil(() => pattern.test(this.#output) || !this.isRunning(), { timeoutMs, what: `output to match ${pattern}` });
    if (!pattern.test(this.#output)) throw new Error(`the process ended before it printed ${pattern}:\n${this.#output}`);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Exit code, or the signal's name where one ended it. */
  async ended(): Promise<number | string> {
    await exited(this.#child);
    return this.#child.exitCode ?? this.#child.signalCode ?? '';
  }

  async stop(signal: NodeJS.Signals = 'SIGINT'): Promise<number | string> {
    this.signal(signal);
    return this.ended();
  }
}

export function temporaryFolder(name: string): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), `binnacle-${name}-`));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export async function startEmbedded(suite: Suite, dataDir: string, flags: readonly string[] = []): Promise<ProductProcess> {
  const product = new ProductProcess(
    [process.execPath, 'apps/cli/dist/main.js', 'start', ...flags],
    { BINNACLE_PORT_OFFSET: String(portsOf(suite).offset), BINNACLE_DATA_DIR: dataDir, BINNACLE_LOG_FORMAT: 'json' },
  );
  await product.untilPrinted(/binnacle ready in \d+ ms/);
  return product;
}
