import type { KeptProfile } from './kept-profile.js';

export interface RetentionLimits {
  readonly nowMs: number;
  readonly ageMsMax: number;
  readonly bytesMax: number;
  readonly profilesMax: number;
}

const blockBytes = 4_096;

/** What a file takes on disk: thousands of small profiles would take twice of what their lengths add up to. */
export function diskBytes({ bytes }: { readonly bytes: number }): number {
  return Math.ceil(bytes / blockBytes) * blockBytes;
}

/**
 * What has to go: everything that is too old, and then, until the rest fits, the oldest continuous profiles and after them the oldest
 * requested ones. Somebody wanted those, and continuous ones come again every minute.
 */
export function profilesToDelete(oldestFirst: readonly KeptProfile[], { nowMs, ageMsMax, bytesMax, profilesMax }: RetentionLimits): Set<KeptProfile> {
  const victims = new Set<KeptProfile>();
  let bytes = 0;
  for (const profile of oldestFirst) {
    if (profile.startedAtMs < nowMs - ageMsMax) victims.add(profile);
    else bytes += diskBytes(profile);
  }
  const isTooMuch = (): boolean => bytes > bytesMax || oldestFirst.length - victims.size > profilesMax;
  for (const origin of ['continuous', 'requested'] as const) {
    for (const profile of oldestFirst) {
      if (!isTooMuch()) return victims;
      if (profile.origin !== origin || victims.has(profile)) continue;
      victims.add(profile);
      bytes -= diskBytes(profile);
    }
  }
  return victims;
}
