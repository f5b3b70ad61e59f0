import type { Clock } from '@binnacle/cluster-state/clock';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import type { NodeDirectory } from '@binnacle/cluster-state/node-directory';
import { addressOf } from '@binnacle/cluster-state/node-record';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { limitedBody } from '@binnacle/node-kit/limited-body';
import type { Logger } from 'pino';
import { Agent } from 'undici';
import type { Spool, SpoolPart } from '../spool/spool.js';
import { SpoolDrain } from '../spool/spool-drain.js';
import { eventsTable, metricsTable, tablesLane } from './rows.js';

export interface TableSenderOptions {
  readonly spool: Spool;
  readonly directory: NodeDirectory;
  readonly clusterSecret: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Of one part, the answer's last line included; a storage node that slows writes down takes its time. */
const partTimeoutMs = 60_000;
/** How long one node is the one that is asked. */
const turnMs = 1_000;
/** A part has some 20,000 rows, and each has a line in the answer, which repeats the row where it is refused. */
const answerBytesMax = 64 * 2 ** 20;

/** Sends what is in the spool to the tables of the storage role. */
export class TableSender {
  readonly #agent = new Agent({ connections: 2, connect: { timeout: 2_000 }, headersTimeout: partTimeoutMs, bodyTimeout: partTimeoutMs });
  readonly drain: SpoolDrain;
  rowsSent = 0;
  /** Rows that the storage role refuses for what they are: they would be refused again. */
  rowsRefused = 0;

  constructor(private readonly options: TableSenderOptions) {
    const { spool, clock, log } = options;
    this.drain = new SpoolDrain({ spool, lane: tablesLane, clock, log, where: 'their tables', send: (part, signal) => this.#send(part, signal) });
  }

  async stop(): Promise<void> {
    await this.drain.stop();
    await this.#agent.destroy();
  }

  async #send({ name: table, content: lines }: SpoolPart, stopped: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(partTimeoutMs)]);
    const node = this.#writeNode();
    const path = `/collections/${table}/documents/import?action=upsert`;
    let answer = await this.#post(node, path, 'text/plain', lines, signal);
    if (answer.status === 404) {
      await this.#create(node, table, signal);
      answer = await this.#post(node, path, 'text/plain', lines, signal);
    }
    if (answer.status !== 200) throw new Error(`node ${node.id} answered ${answer.status}: ${answer.text.slice(0, 200)}`);
    this.#take(table, answer.text);
  }

  #writeNode(): NodeRecord {
    const nodes = this.options.directory.byRole('storage').filter(({ state, labels }) => state === 'running' && labels['disagg-mode'] !== 'Compute');
    const [node] = nodes;
    if (node === undefined) throw new Error('no storage node that takes rows is running');
    // Any of them passes rows on to where they belong; by turns, so that one that is ill does not stop everything.
    return nodes[Math.floor(this.options.clock.monotonicMs() / turnMs) % nodes.length] ?? node;
  }

  async #create(node: NodeRecord, table: string, signal: AbortSignal): Promise<void> {
    const schema = table === eventsTable.name ? eventsTable : metricsTable;
    const { status, text } = await this.#post(node, '/collections', 'application/json', JSON.stringify(schema), signal);
    // 409: another node was first.
    if (status !== 201 && status !== 200 && status !== 409) throw new Error(`node ${node.id} does not make the table ${table}: ${status} ${text.slice(0, 200)}`);
  }

  /** One line for each row. A row that could not be written this time makes the whole part go again, which replaces the others. */
  #take(table: string, text: string): void {
    const lines = text.split('\n').filter((line) => line !== '');
    const failures = lines.filter((line) => line !== '{"success":true}').map((line) => JSON.parse(line) as { code?: number; error?: string });
    const transient = failures.find(({ code = 500 }) => code >= 500 || code === 422 || code === 429);
    if (transient !== undefined) throw new Error(`a row of ${table} was not written: ${String(transient.error).slice(0, 200)}`);
    this.rowsSent += lines.length - failures.length;
    this.rowsRefused += failures.length;
    if (failures.length > 0) this.options.log.error({ table, rows: failures.length, reason: failures[0]?.error }, 'the table refuses rows; they are dropped');
  }

  async #post(node: NodeRecord, path: string, type: string, body: Buffer | string, signal: AbortSignal): Promise<{ status: number; text: string }> {
    const headers = { [clusterSecretHeader]: this.options.clusterSecret, 'content-type': type };
    const answer = await this.#agent.request({ origin: `http://${addressOf(node)}`, path, method: 'POST', headers, body, signal });
    const bytes = await limitedBody(answer.body, answerBytesMax, `the answer of node ${node.id}`);
    return { status: answer.statusCode, text: bytes.toString() };
  }
}
