import type { StatementKind } from '@binnacle/mysql-wire/statement-kind';
import { commandLabels } from './command-labels.js';
import { seriesKey, type FamilyName } from './families.js';
import { latencyBuckets, newHistogram, observeLatency, type HistogramArray } from './histogram.js';

export const statementKinds: readonly StatementKind[] = ['select', 'insert', 'update', 'delete', 'replace', 'begin', 'commit', 'rollback', 'set', 'use', 'other'];

/**
 * What is measured of every command to one backend. The arrays are indexed by the command's byte, so that measuring is some additions and no
 * look-up: prom-client's `observe` with labels takes several times what forwarding a packet does.
 */
export class BackendMeter {
  /** When something was measured last, on the clock of `performance.now()`. */
  usedMs: number;
  /** Nobody reads it any more: who goes on measuring takes the new one of the same backend. */
  dropped = false;
  readonly #queries = new Float64Array(256);
  readonly #durations: (HistogramArray | undefined)[] = [];
  readonly #interactions: (HistogramArray | undefined)[] = [];
  #handshakes: HistogramArray | undefined;
  #inboundBytes = 0;
  #inboundPackets = 0;
  #outboundBytes = 0;
  #outboundPackets = 0;

  constructor(
    readonly backend: string,
    nowMs: number,
  ) {
    this.usedMs = nowMs;
  }

  commandDone(command: number, ms: number, nowMs: number): void {
    this.usedMs = nowMs;
    this.#queries[command] = (this.#queries[command] as number) + 1;
    observeLatency((this.#durations[command] ??= newHistogram(latencyBuckets)), ms);
  }

  /** @param kind index into `statementKinds` */
  interaction(command: number, kind: number, ms: number): void {
    observeLatency((this.#interactions[command * statementKinds.length + kind] ??= newHistogram(latencyBuckets)), ms);
  }

  handshake(ms: number, nowMs: number): void {
    this.usedMs = nowMs;
    observeLatency((this.#handshakes ??= newHistogram(latencyBuckets)), ms);
  }

  received(bytes: number, packets: number): void {
    this.#inboundBytes += bytes;
    this.#inboundPackets += packets;
  }

  sent(bytes: number, packets: number): void {
    this.#outboundBytes += bytes;
    this.#outboundPackets += packets;
  }

  /** Adds its series to those of all backends. */
  writeTo(put: (family: FamilyName, key: string, value: number | number[]) => void): void {
    const { backend } = this;
    this.#queries.forEach((count, command) => count > 0 && put('queries', seriesKey([backend, commandLabels[command] as string]), count));
    this.#durations.forEach((histogram, command) => histogram && put('queryDuration', seriesKey([backend, commandLabels[command] as string]), [...histogram]));
    this.#interactions.forEach((histogram, index) => {
      const command = commandLabels[Math.floor(index / statementKinds.length)] as string;
      if (histogram) put('interactionDuration', seriesKey([backend, command, statementKinds[index % statementKinds.length] as string]), [...histogram]);
    });
    if (this.#handshakes) put('handshakeDuration', backend, [...this.#handshakes]);
    put('inboundBytes', backend, this.#inboundBytes);
    put('inboundPackets', backend, this.#inboundPackets);
    put('outboundBytes', backend, this.#outboundBytes);
    put('outboundPackets', backend, this.#outboundPackets);
  }
}
