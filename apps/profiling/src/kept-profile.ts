import { randomBytes } from 'node:crypto';
import type { CapturedProfile, ProfileKind } from './captured-profile.js';

export const profileKinds: readonly ProfileKind[] = ['cpu', 'heap', 'native-heap'];

/** Whether somebody asked for it, or continuous profiling took it. */
export type ProfileOrigin = 'requested' | 'continuous';

/** What is known of a profile on disk without opening it. */
export interface KeptProfile {
  /** `{keeper}~{time}-{random}`: the keeper is the profiling node that has it. */
  readonly id: string;
  /** The profiled node; `*` for the profiles of several nodes merged into one. */
  readonly node: string;
  readonly kind: ProfileKind;
  readonly origin: ProfileOrigin;
  readonly startedAtMs: number;
  readonly durationMs: number;
  readonly bytes: number;
}

/** The same for clients, with the time as ISO 8601. */
export type ProfileView = Omit<KeptProfile, 'startedAtMs'> & { readonly startedAt: string };

export function profileView({ id, node, kind, origin, startedAtMs, durationMs, bytes }: KeptProfile): ProfileView {
  return { id, node, kind, origin, startedAt: new Date(startedAtMs).toISOString(), durationMs, bytes };
}

export function describeProfile({ captured, origin, keeper }: { captured: CapturedProfile; origin: ProfileOrigin; keeper: string }): KeptProfile {
  const { node, kind, startedAtMs, durationMs, pprof } = captured;
  const time = new Date(startedAtMs).toISOString().replaceAll(/[-:.]/g, '');
  const id = `${keeper}~${time}-${randomBytes(4).toString('hex')}`;
  return { id, node, kind, origin, startedAtMs, durationMs: Math.round(durationMs), bytes: pprof.length };
}

/** The keeper that an id names, or undefined for what is no id. */
export function keeperOf(id: string): string | undefined {
  return /^([A-Za-z0-9._-]{1,64})~\d{8}T\d{9}Z-[0-9a-f]{8}$/.exec(id)?.[1];
}

const extension = '.pb.gz';
/** No node can be called so, and no shell takes it for a pattern. */
const severalNodes = '+';

/**
 * The name of its file, which holds all that is known of it: one rename puts profile and description in place together, and a restart
 * reads no file. `~` is in no node id.
 */
export function fileNameOf({ id, node, kind, origin, durationMs, bytes }: KeptProfile): string {
  const key = id.slice(id.indexOf('~') + 1);
  return [key, durationMs, kind, origin, bytes, node === '*' ? severalNodes : node].join('~') + extension;
}

const fileName = /^((\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z-[0-9a-f]{8})~(\d{1,9})~(cpu|heap|native-heap)~(requested|continuous)~(\d{1,12})~([A-Za-z0-9._-]{1,64}|\+)\.pb\.gz$/;

/** The profile that a file holds, or undefined for a file that is none of ours. */
export function profileOfFile(name: string, keeper: string): KeptProfile | undefined {
  const found = fileName.exec(name);
  if (found === null) return undefined;
  const [, key, year, month, day, hour, minute, second, millisecond, durationMs, kind, origin, bytes, node] = found;
  return {
    id: `${keeper}~${key}`,
    node: node === severalNodes ? '*' : String(node),
    kind: kind as ProfileKind,
    origin: origin as ProfileOrigin,
    startedAtMs: Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second), Number(millisecond)),
    durationMs: Number(durationMs),
    bytes: Number(bytes),
  };
}
