import type { CapturePart } from './capture-part.js';
import type { LayerOrder } from './layers.js';

/** Beside the files of a capture. The first fields are TiProxy's, which ignores the others. */
export interface TrafficMeta {
  readonly Version: string;
  /** In nanoseconds, to the end of writing. */
  readonly Duration: number;
  /** Records. */
  readonly Cmds: number;
  /** Statements left out, most for secrets in them. */
  readonly FilteredCmds?: number;
  readonly EncryptMethod?: string;
  readonly Binnacle?: BinnacleMeta;
}

export interface BinnacleMeta {
  /** Of Binnacle. */
  readonly version: string;
  /** Everything that was captured is in the files. False while it is running, and for ever if the process was killed. */
  readonly complete: boolean;
  readonly state: 'running' | CaptureEnd;
  /** Why it failed. */
  readonly reason?: string;
  readonly layers: LayerOrder;
  readonly compressed: boolean;
  /** In microseconds since 1970: when it began and when it ended. */
  readonly fromUs: number;
  readonly toUs?: number;
  readonly results: number;
  /** Plain, of the records. */
  readonly bytes: number;
  /** Commands left out, by reason. */
  readonly leftOut: Readonly<Record<string, number>>;
  /** Sessions of which something was captured. */
  readonly sessions?: number;
  /** Sessions whose capture lacks something that a replay would need, by reason. */
  readonly incomplete?: Readonly<Record<string, number>>;
  readonly serverVersion?: string;
  /** Read with `parsePart`. */
  readonly part?: CapturePart;
}

export type CaptureEnd = 'done' | 'canceled' | 'failed';

export const encryptMethod = 'aes256-ctr';

/** Whether its files are encrypted. Throws on a method that nobody knows. */
export function isEncrypted({ EncryptMethod = '' }: TrafficMeta): boolean {
  const method = EncryptMethod.toLowerCase();
  if (method === '' || method === 'plaintext') return false;
  if (method === encryptMethod) return true;
  throw new Error(`unsupported encrypt method: ${EncryptMethod}`);
}

/** Throws an Error when it is none. */
export function parseMeta(text: string): TrafficMeta {
  const meta = JSON.parse(text) as Partial<TrafficMeta> | null;
  if (typeof meta !== 'object' || meta === null || Array.isArray(meta)) throw new Error('not an object');
  const { Version = '', Duration = 0, Cmds = 0, EncryptMethod = '' } = meta;
  if (typeof EncryptMethod !== 'string' || !Number.isFinite(Cmds) || !Number.isFinite(Duration)) throw new Error('fields of other types');
  return { ...meta, Version, Duration, Cmds, EncryptMethod };
}
