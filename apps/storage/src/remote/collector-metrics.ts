import { Counter, Gauge, type Registry } from 'prom-client';
import type { CollectionResult } from './collection.js';

/** What the collector of the remote store tells of itself on `/metrics`. */
export class CollectorMetrics {
  readonly #runs: Counter<'result'>;
  readonly #deletedObjects: Counter;
  readonly #deletedBytes: Counter;
  readonly #marks: Counter;
  readonly #leftObjects: Gauge;
  readonly #leftBytes: Gauge;
  readonly #lastSuccess: Gauge;

  constructor(registry: Registry) {
    const registers = [registry];
    const count = (name: string, help: string): Counter => new Counter({ name: `binnacle_remote_gc_${name}_total`, help, registers });
    const measure = (name: string, help: string): Gauge => new Gauge({ name: `binnacle_remote_gc_${name}`, help, registers });
    this.#runs = new Counter({ name: 'binnacle_remote_gc_runs_total', help: 'Runs of the collector on this node, by how they ended.', labelNames: ['result'], registers });
    this.#deletedObjects = count('deleted_objects', 'Objects of the remote store that the collector deleted.');
    this.#deletedBytes = count('deleted_bytes', 'Bytes of them.');
    this.#marks = count('delete_marks', 'Objects the collector marked, to delete them later.');
    this.#leftObjects = measure('unreferenced_objects', 'Objects nobody references, after the last run: those that wait for deletion, and those that are never deleted.');
    this.#leftBytes = measure('unreferenced_bytes', 'Bytes of them.');
    this.#lastSuccess = measure('last_success_timestamp_seconds', 'When the last run on this node went through everything; 0 before the first.');
  }

  /** Without a result it failed. */
  ended(result: CollectionResult | undefined, nowMs: number): void {
    this.#runs.inc({ result: result === undefined ? 'failure' : 'success' });
    if (result === undefined) return;
    this.#deletedObjects.inc(result.deletedObjects);
    this.#deletedBytes.inc(result.deletedBytes);
    this.#marks.inc(result.marked);
    this.#leftObjects.set(result.leftObjects);
    this.#leftBytes.set(result.leftBytes);
    this.#lastSuccess.set(nowMs / 1_000);
  }
}
