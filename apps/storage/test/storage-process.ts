import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Agent, request } from 'undici';
import { clusterSecret } from './snapshot-node.js';

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** A storage node in a process of its own, which can be killed. Runs what was built. */
export class StorageProcess {
  readonly #agent = new Agent({ connections: 64, headersTimeout: 0, bodyTimeout: 0 });
  readonly #child: ChildProcess;
  readonly #unguard: () => void;
  #output = '';

  private constructor(dataDir: string, env: Record<string, string>) {
    this.#child = spawn(process.execPath, [main], {
      env: { ...process.env, NODE_OPTIONS: '', BINNACLE_NODE_PORT: '0', BINNACLE_DATA_DIR: dataDir, BINNACLE_NODE_CLUSTER_SECRET: clusterSecret, BINNACLE_LOG_FORMAT: 'json', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#unguard = guardProcess(this.#child.pid as number, '');
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
  }

  static async start(dataDir: string, env: Record<string, string> = {}): Promise<StorageProcess> {
    const node = new StorageProcess(dataDir, env);
    await waitUntil(() => node.#output.includes('"msg":"node runs"') || node.#child.exitCode !== null, { timeoutMs: 60_000, what: 'a storage node that runs' });
    if (node.#child.exitCode !== null) throw new Error(`the node did not start:\n${node.#output}`);
    return node;
  }

  async ask(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const address = /"address":"([^"]+)"[^\n]*"msg":"node runs"/.exec(this.#output)?.[1] as string;
    const answer = await request(`http://${address}${path}`, {
      method,
      dispatcher: this.#agent,
      headers: { [clusterSecretHeader]: clusterSecret, 'content-type': 'application/json', ...headers },
      body: body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body),
    });
    return { status: answer.statusCode, text: await answer.body.text() };
  }

  output(): string {
    return this.#output;
  }

  /** SIGSTOP keeps it from doing anything until SIGCONT. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal);
  }

  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.#child.kill(signal);
    await exited(this.#child);
    this.#unguard();
    await this.#agent.destroy();
  }
}

/** Everything a client sees, by id, of a collection. */
export async function exportedIds(node: StorageProcess, collection: string): Promise<Set<string>> {
  const { text } = await node.ask('GET', `/collections/${collection}/documents/export`);
  return new Set(text.split('\n').filter(Boolean).map((line) => (JSON.parse(line) as { id: string }).id));
}

/** Names in a folder, none when it is not there. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
