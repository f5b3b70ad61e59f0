import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CaptureEnd, CaptureOrder, CaptureProgress } from '../src/traffic/capture/capture-order.js';
import type { ReadRecord } from '../src/traffic/files/record.js';
import type { TimedResult } from '../src/traffic/files/results-file.js';
import { commandText } from '../src/traffic/files/record.js';
import { TrafficReader } from '../src/traffic/files/traffic-reader.js';
import type { ProxyNode } from './proxy-node.js';

export const store = { s3Endpoint: '', s3Region: '', s3ForcePathStyle: true, attemptTimeoutMs: 5_000, timeoutMs: 20_000, connectionsMax: 4 };
const deadlineMs = 60_000;

/** The records and results of one connection, in their order. */
export interface CapturedConnection {
  readonly records: readonly ReadRecord[];
  /** By the ordinal of their record. */
  readonly results: ReadonlyMap<number, TimedResult>;
}

/** A capture of the one worker of a node, in a folder of its own. */
export class Captured {
  readonly folder = mkdtempSync(join(tmpdir(), 'binnacle-capture-'));

  constructor(private readonly node: ProxyNode) {}

  async start(order: Partial<CaptureOrder> = {}): Promise<CaptureProgress> {
    const whole: CaptureOrder = {
      job: 'j', output: join(this.folder, 'out'), compress: false, encryptMethod: '', layers: 'compress-first', keyFile: '', store, temporaryFolder: this.folder, node: 'n0', nodes: ['n0'], worker: 0, workers: [0], ...order,
    };
    return this.node.sql.workers.askOne(0, 'captureStart', whole, deadlineMs);
  }

  async progress(): Promise<CaptureProgress> {
    return (await this.node.sql.workers.askOne(0, 'captureProgress', {}, deadlineMs))!;
  }

  async stop(end: CaptureEnd = { state: 'done', reason: '' }): Promise<CaptureProgress> {
    return (await this.node.sql.workers.askOne(0, 'captureStop', end, deadlineMs))!;
  }

  read(): Promise<CapturedConnection[]> {
    return readCaptured(join(this.folder, 'out'));
  }

  /** All bytes of all its files. */
  bytes(): Buffer {
    return Buffer.concat(filesOf(this.folder).map((file) => readFileSync(file)));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function filesOf(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => (statSync(join(folder, name)).isDirectory() ? filesOf(join(folder, name)) : [join(folder, name)]));
}

/** By connection, the one that came first first. */
export async function readCaptured(folder: string): Promise<CapturedConnection[]> {
  const reader = await TrafficReader.open({ input: folder, store });
  const connections = new Map<number, { records: ReadRecord[]; results: Map<number, TimedResult> }>();
  const of = (id: number) => connections.get(id) ?? connections.set(id, { records: [], results: new Map() }).get(id)!;
  for await (const record of reader.records()) of(record.connectionId).records.push({ ...record, payload: Buffer.from(record.payload) });
  for await (const result of reader.results()) of(result.connectionId).results.set(result.ordinal, result);
  await reader.close();
  return [...connections.values()];
}

/** `StmtExecute 2 0200000000...`: of records whose payload is no text, in hexadecimal digits. */
export function shown({ command, capturedStatementId, payload }: ReadRecord): string {
  const text = Buffer.from(payload);
  const bytes = text.every((byte) => byte >= 0x20 && byte < 0x7f) ? text.toString() : text.toString('hex');
  return [commandText(command), ...(capturedStatementId === undefined ? [] : [capturedStatementId]), bytes].join(' ').trim();
}
