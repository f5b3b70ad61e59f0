import type { LogBatch } from '../log/log-record.js';
import type { Row } from './row.js';

export class Engine {
  static async open(folder: string): Promise<Engine> {
    throw new Error(folder);
  }

  async get(_tableId: number, _handle: Buffer): Promise<Row | undefined> {
    throw new Error();
  }

  async apply(_batches: readonly LogBatch[]): Promise<void> {
    throw new Error();
  }
}
