import type { Lease, NodeRecord, NodeState } from '@binnacle/cluster-state/cluster-state';
import { kebabCase } from '@binnacle/node-kit/config-key';
import type { Settings } from '@binnacle/node-kit/settings';

/** Something that changed in the cluster, as `/api/v1/cluster/events` tells it: `type` is the event's name, the rest its data. */
export type ClusterChange =
  | { readonly type: 'node-joined'; readonly node: string; readonly roles: readonly string[]; readonly state: NodeState; readonly version: string }
  | { readonly type: 'node-left'; readonly node: string; readonly roles: readonly string[] }
  | { readonly type: 'node-changed'; readonly node: string; readonly from: NodeState; readonly to: NodeState }
  | {
      readonly type: 'lease-changed';
      readonly lease: string;
      readonly term: number;
      /** Node ids; null while the lease is free. */
      readonly owner: string | null;
      readonly before: string | null;
    }
  | { readonly type: 'settings-changed'; readonly version: number; readonly changed: Readonly<Record<string, unknown>> }
  | { readonly type: 'cluster-state-lost'; readonly reason: string }
  | { readonly type: 'cluster-state-back' };

/** A node that restarted between two looks has left and joined: its incarnation is another one. */
export function nodeChanges(before: readonly NodeRecord[], after: readonly NodeRecord[]): ClusterChange[] {
  const changes: ClusterChange[] = [];
  const earlier = new Map(before.map((node) => [node.id, node]));
  const later = new Map(after.map((node) => [node.id, node]));
  for (const node of before) {
    if (later.get(node.id)?.incarnation !== node.incarnation) changes.push({ type: 'node-left', node: node.id, roles: node.roles });
  }
  for (const node of after) {
    const known = earlier.get(node.id);
    if (known?.incarnation !== node.incarnation) {
      changes.push({ type: 'node-joined', node: node.id, roles: node.roles, state: node.state, version: node.version });
    } else if (known.state !== node.state) {
      changes.push({ type: 'node-changed', node: node.id, from: known.state, to: node.state });
    }
  }
  return changes;
}

/** A lease never goes away; one that appears has been taken for the first time. */
export function leaseChanges(before: readonly Lease[], after: readonly Lease[]): ClusterChange[] {
  return after.flatMap((lease): ClusterChange[] => {
    const known = before.find((each) => each.name === lease.name);
    const [owner, ownerBefore] = [lease.owner?.nodeId ?? null, known?.owner?.nodeId ?? null];
    if (known?.term === lease.term && owner === ownerBefore) return [];
    return [{ type: 'lease-changed', lease: lease.name, term: lease.term, owner, before: ownerBefore }];
  });
}

/** Keys in kebab case, as `POST /config` takes them; the SQL proxy's with their section, `proxy.max-connections`. */
export function settingsChange(before: Settings, after: Settings, version: number): ClusterChange {
  const old = new Map(namedValues(before));
  const changed = namedValues(after).filter(([key, value]) => JSON.stringify(old.get(key)) !== JSON.stringify(value));
  return { type: 'settings-changed', version, changed: Object.fromEntries(changed) };
}

function namedValues({ proxy, ...settings }: Settings): [string, unknown][] {
  return [...Object.entries(settings).map(([key, value]): [string, unknown] => [kebabCase(key), value]), ...Object.entries(proxy)];
}
