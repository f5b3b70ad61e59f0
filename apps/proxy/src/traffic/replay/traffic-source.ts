import type { CommandResult } from '../command-result.js';
import type { ReadRecord } from '../files/record.js';

/** What came of a command then, and when its response had ended, on the clock of the records. */
export interface CapturedResult extends CommandResult {
  readonly source: number;
  readonly endTimeUs: number;
}

/** A capture as a replay reads it: both streams forward, once. `TrafficReader` is one. */
export interface TrafficSource {
  /** By their times; those of one connection in their order, whatever their times. A payload is valid until the next record is asked for. */
  records(): AsyncIterable<ReplayRecord>;
  /** By `endTimeUs`; those of one connection in their order. */
  results(): AsyncIterable<CapturedResult>;
  readonly hasResults: boolean;
}

export interface ReplayRecord extends ReadRecord {
  /** Of all records of its connection, from 1; absent: it is counted by who reads. */
  readonly ordinal?: number;
  /** Number of the collation of the login, with the first record of a connection. */
  readonly collation?: number;
  /** What the client had agreed upon, bits of `Capability`; with the first record too. */
  readonly capabilities?: number;
}
