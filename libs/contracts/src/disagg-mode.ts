import type { StorageMode } from './route.js';

/** The role of a storage node in TiFlash's words, as the registry shows it (label `disagg-mode`). */
export type DisaggMode = 'Storage' | 'Compute' | 'Both' | 'None';

export function disaggMode(modes: readonly string[]): DisaggMode {
  const writes = modes.includes('write');
  const computes = modes.includes('compute');
  if (writes && computes) return 'Both';
  if (writes) return 'Storage';
  return computes ? 'Compute' : 'None';
}

/** Whether the registry shows the node, by its labels, as a storage node of that mode. */
export function isInMode({ labels }: { readonly labels: Readonly<Record<string, string>> }, mode: StorageMode): boolean {
  const shown = labels['disagg-mode'];
  return shown === 'Both' || shown === disaggMode([mode]);
}
