import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { hashed, rendezvous } from '@binnacle/cluster-state/rendezvous';
import { BinnacleError } from '@binnacle/contracts/errors';
import { isInMode } from '@binnacle/contracts/disagg-mode';
import type { Role, StorageMode, TargetRule } from '@binnacle/contracts/route';

/** What target choice knows of the cluster. */
export interface ClusterView {
  /** Of this gateway's own node. */
  readonly ownId: string;
  all(): readonly NodeRecord[];
  byId(id: string): NodeRecord | undefined;
  byRole(role: string): readonly NodeRecord[];
  leaseOwnerId(lease: string): string | undefined;
}

export type Target =
  /** This process answers. */
  | { readonly kind: 'own' }
  /** One of these, by load. `subject` is passed on as `?node=`; `*` when one node answers for all. */
  | { readonly kind: 'any'; readonly nodes: readonly NodeRecord[]; readonly role: Role; readonly subject: string | undefined }
  /** This one and no other, whatever its state. */
  | { readonly kind: 'named'; readonly node: NodeRecord }
  /** The lease's owner; `others` only when it cannot be reached. */
  | { readonly kind: 'owner'; readonly node: NodeRecord; readonly others: readonly NodeRecord[] }
  /** All of these; with `askedOf`, one of those is asked about each. */
  | { readonly kind: 'every'; readonly nodes: readonly NodeRecord[]; readonly askedOf: readonly NodeRecord[] | undefined };

const nodeId = /^[A-Za-z0-9._-]{1,64}$/;
const ownTarget: Target = { kind: 'own' };
/** Ids in an error: enough to recognise what was meant. */
const idsShownMax = 20;

/** Which node serves a request. `named` comes from `?node=` or `X-Binnacle-Node`. Throws `BinnacleError`. */
export function chooseTarget(rule: TargetRule, named: string | undefined, view: ClusterView): Target {
  if (named === undefined) return unnamedTarget(rule, view);
  if (named === '') throw new BinnacleError('BAD_REQUEST', 'node= is empty: name a node, or * for all, or leave it out.');
  if (named === '*') return rule.kind === 'subject' && rule.together ? subjectTarget(rule.role, named, view) : everyTarget(rule, view);
  const node = view.byId(named);
  if (node === undefined) {
    if (rule.kind === 'subject' && rule.mayHaveLeft && nodeId.test(named)) return subjectTarget(rule.role, named, view);
    throw unknownNode(named, view);
  }
  const role = namedRole(rule);
  if (role !== 'any' && !node.roles.includes(role)) {
    const message = `Node ${named} has no role ${role}: it is ${node.roles.join(', ')}. ${knownNodes(view.byRole(role))}`;
    throw new BinnacleError('BAD_REQUEST', message);
  }
  if (rule.kind === 'subject') return subjectTarget(rule.role, named, view);
  return named === view.ownId ? ownTarget : { kind: 'named', node };
}

/** Of any nodes the one for this key. None is left out for its load: another one would not know what has come under the key. */
export function targetByKey(target: Target, key: string | string[] | undefined): Target {
  if (target.kind !== 'any' || typeof key !== 'string' || key === '') return target;
  const running = target.nodes.filter(({ state }) => state === 'running');
  const node = rendezvous(hashed(key), running.map((record) => ({ id: record.id, hash: hashed(record.id), record })))?.record;
  return node === undefined ? target : { ...target, nodes: [node] };
}

function unnamedTarget(rule: TargetRule, view: ClusterView): Target {
  switch (rule.kind) {
    case 'self':
      return rule.rather === undefined ? ownTarget : targetRather(rule.rather, view);
    case 'role':
      return rule.role === 'gateway' ? ownTarget : { kind: 'any', nodes: inMode(view.byRole(rule.role), rule.mode), role: rule.role, subject: undefined };
    case 'subject':
      return subjectTarget(rule.role, undefined, view);
    case 'lease-owner': {
      const ownerId = view.leaseOwnerId(rule.lease);
      const owner = ownerId === undefined ? undefined : view.byId(ownerId);
      const nodes = inMode(view.byRole(rule.role), rule.mode);
      if (owner === undefined) return { kind: 'any', nodes, role: rule.role, subject: undefined };
      return owner.id === view.ownId ? ownTarget : { kind: 'owner', node: owner, others: nodes };
    }
  }
}

/** One that starts is asked only when there is no other: that it starts is the answer then. */
function targetRather(role: Role, view: ClusterView): Target {
  const nodes = view.byRole(role);
  const [first] = nodes;
  if (first === undefined || nodes.some(({ id }) => id === view.ownId)) return ownTarget;
  const begun = nodes.filter(({ state }) => state !== 'starting');
  return begun.length > 0 ? { kind: 'any', nodes: begun, role, subject: undefined } : { kind: 'named', node: first };
}

/** Those of the mode; all of them where none is: they say why they do not answer. */
function inMode(nodes: readonly NodeRecord[], mode: StorageMode | undefined): readonly NodeRecord[] {
  if (mode === undefined) return nodes;
  const fit = nodes.filter((node) => isInMode(node, mode));
  return fit.length > 0 ? fit : nodes;
}

function subjectTarget(role: Role, subject: string | undefined, view: ClusterView): Target {
  return { kind: 'any', nodes: view.byRole(role), role, subject };
}

function everyTarget(rule: TargetRule, view: ClusterView): Target {
  const role = namedRole(rule);
  const nodes = role === 'any' ? view.all() : view.byRole(role);
  return { kind: 'every', nodes, askedOf: rule.kind === 'subject' ? view.byRole(rule.role) : undefined };
}

/** The role a named node must have. */
function namedRole(rule: TargetRule): Role | 'any' {
  if (rule.kind === 'self') return 'any';
  return rule.kind === 'subject' ? rule.subjectRole : rule.role;
}

function unknownNode(named: string, view: ClusterView): BinnacleError {
  const shown = named.length > 64 ? `${named.slice(0, 64)}...` : named;
  return new BinnacleError('UNKNOWN_NODE', `There is no node ${JSON.stringify(shown)}. ${knownNodes(view.all())}`);
}

function knownNodes(nodes: readonly NodeRecord[]): string {
  if (nodes.length === 0) return 'There is none now.';
  const ids = nodes.map((node) => node.id).sort();
  const rest = ids.length > idsShownMax ? ` and ${ids.length - idsShownMax} more` : '';
  return `Known: ${ids.slice(0, idsShownMax).join(', ')}${rest}; GET /api/v1/cluster lists them, node=* asks all.`;
}
