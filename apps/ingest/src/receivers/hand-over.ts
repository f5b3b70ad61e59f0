import type { IngestConfig } from '@binnacle/node-kit/ingest-config';
import type { BadLine } from '../lines/metric-line.js';
import type { MetricEvent } from '../messages/metric-event.js';
import type { Listening, ReceiverPlace } from './receiver.js';

/** What a receiver thread is started with. */
export interface ReceiverThreadData {
  readonly place: ReceiverPlace;
  /** Limits of this thread alone; see `ConnectionCount` for those of all. */
  readonly config: IngestConfig;
  readonly connections: Int32Array<SharedArrayBuffer>;
  readonly number: number;
}

/** To the thread: hand over what there is, and say this number with it; the last hand-over is counted; take what has arrived, hand it over and end. */
export type ReceiverRequest = { readonly handOver: number } | 'counted' | 'close';

/** From the thread. */
export type ReceiverReport = { readonly listening: Listening } | { readonly failure: ListenFailure } | { readonly handOver: HandOver };

export interface ListenFailure {
  readonly protocol: 'udp' | 'tcp';
  readonly code: string | undefined;
  readonly message: string;
}

/** What came since the last one. The next one is made when this one is counted, so that no more than one is under way. */
export interface HandOver {
  /** The number of the last request that came before it was begun. */
  readonly answers: number;
  /** `RawMessageV2` each; filters are done with. */
  readonly messages: readonly Uint8Array<ArrayBuffer>[];
  readonly events: readonly MetricEvent[];
  readonly badLines: readonly BadLineCount[];
  readonly counts: ReceiverCounts;
}

export interface BadLineCount {
  readonly reason: BadLine;
  readonly count: number;
  /** The beginning of one of them. */
  readonly line: Uint8Array;
}

export interface ReceiverCounts {
  readonly lines: number;
  readonly packets: number;
  readonly refused: number;
  readonly eventsDropped: number;
  readonly overflowed: number;
  readonly timerValues: number;
  readonly setMembers: number;
}
