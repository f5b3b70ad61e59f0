import { BinnacleError } from '@binnacle/contracts/errors';
import { type BackendStays, summedStays } from './backend-stays.js';
import type { ProxyPeers } from './proxy-peers.js';
import type { FoundSession, MoveOutcome, SessionFilter, SessionList, SessionSummary } from './worker-protocol.js';
import { mergedLists, type Workers } from './workers.js';

/** A session and the proxy node that holds it. */
export type PlacedSession = SessionSummary & { readonly node: string };

export interface PlacedList {
  readonly sessions: readonly PlacedSession[];
  readonly total: number;
  /** Proxy nodes that could not be asked: what they hold is missing here. */
  readonly away: readonly string[];
}

/** A migration waits for its session's boundary, logs in elsewhere and replays: longer than other questions. */
const migrateTimeoutMs = 30_000;

/** The sessions of all proxy nodes: each knows its own, and asks the others. `node` names one; absent or `*` means all. */
export class SessionDirectory {
  constructor(
    private readonly workers: Workers,
    private readonly peers: ProxyPeers,
  ) {}

  async list(filter: SessionFilter, node?: string): Promise<PlacedList> {
    const placed = (id: string, list: SessionList) => ({ total: list.total, sessions: list.sessions.map((session) => ({ ...session, node: id })) });
    const path = `sessions?${queryOf(filter)}`;
    if (isOne(node)) {
      if (node === this.peers.ownId) return { ...placed(node, await this.workers.list(filter)), away: [] };
      const list = await this.peers.ask<SessionList>(this.peers.named(node), 'GET', path);
      return { ...placed(node, list ?? { sessions: [], total: 0 }), away: [] };
    }
    const [own, others] = await Promise.all([this.workers.list(filter), this.peers.askOthers<SessionList>('GET', path)]);
    const lists = [placed(this.peers.ownId, own), ...others.answers.map((answer) => placed(answer.node, answer.body))];
    return { ...mergedLists(lists, filter.limit), away: others.away };
  }

  /** What is on a backend, from all proxy nodes. */
  async stays(backend: string): Promise<BackendStays & { away: readonly string[] }> {
    const [own, others] = await Promise.all([
      this.workers.stays(backend),
      this.peers.askOthers<BackendStays>('GET', `backends/${encodeURIComponent(backend)}/stays`),
    ]);
    return { ...summedStays([own, ...others.answers.map(({ body }) => body)]), away: others.away };
  }

  /** Throws NOT_FOUND. */
  async one(id: number, node?: string): Promise<PlacedSession> {
    const own = isOne(node) && node !== this.peers.ownId ? undefined : await this.workers.session(id);
    if (own !== undefined) return { ...own, node: this.peers.ownId };
    if (isOne(node)) {
      const session = node === this.peers.ownId ? undefined : await this.peers.ask<SessionSummary>(this.peers.named(node), 'GET', `sessions/${id}`);
      if (session === undefined) throw noSession(id);
      return { ...session, node };
    }
    const { answers, away } = await this.peers.askOthers<SessionSummary>('GET', `sessions/${id}`);
    const [found] = answers;
    if (found === undefined) throw noSession(id, away);
    return { ...found.body, node: found.node };
  }

  /** Where a KILL has to go. Two nodes may have given the same id to different sessions; then it means neither. */
  async find(id: number): Promise<FoundSession | undefined> {
    const own = await this.workers.session(id);
    if (own !== undefined) return foundSession(this.peers.ownId, own);
    const { answers } = await this.peers.askOthers<SessionSummary>('GET', `sessions/${id}`);
    const [found] = answers;
    return found !== undefined && answers.length === 1 ? foundSession(found.node, found.body) : undefined;
  }

  /** Throws NOT_FOUND. */
  async migrate(id: number, to: string | undefined, node?: string): Promise<MoveOutcome & { node: string }> {
    const holder = (await this.one(id, node)).node;
    const outcome =
      holder === this.peers.ownId
        ? await this.migrateOwn(id, to)
        : await this.peers.ask<MoveOutcome>(this.peers.named(holder), 'POST', `sessions/${id}/migrate`, { body: { ...(to !== undefined && { to }) }, timeoutMs: migrateTimeoutMs });
    if (outcome === undefined) throw noSession(id);
    return { ...outcome, node: holder };
  }

  /** One of this node's own; undefined when it has no such session. */
  migrateOwn(id: number, to: string | undefined): Promise<MoveOutcome | undefined> {
    return this.workers.askHolder('migrate', { id, ...(to !== undefined && { to }), reason: 'api' }, migrateTimeoutMs);
  }

  /** Ends it, wherever it is; false where it is nowhere. */
  async close(id: number, node?: string): Promise<boolean> {
    const holder = await this.one(id, node).then(
      (session) => session.node,
      (error: unknown) => {
        if (error instanceof BinnacleError && error.code === 'NOT_FOUND') return undefined;
        throw error;
      },
    );
    if (holder === undefined) return false;
    if (holder === this.peers.ownId) return (await this.workers.askHolder('close', { id })) ?? false;
    return (await this.peers.ask<{ closed: boolean }>(this.peers.named(holder), 'DELETE', `sessions/${id}`))?.closed ?? false;
  }
}

function isOne(node: string | undefined): node is string {
  return node !== undefined && node !== '*';
}

function foundSession(node: string, { id, user, backend, backendThreadId }: SessionSummary): FoundSession {
  return { node, id, user, backend, backendThreadId };
}

function noSession(id: number, away: readonly string[] = []): BinnacleError {
  const missing = away.length === 0 ? '' : `; these proxy nodes could not be asked: ${away.join(', ')}`;
  return new BinnacleError('NOT_FOUND', `there is no session ${id}${missing}`);
}

function queryOf({ backend, user, movable, limit }: SessionFilter): string {
  const query = new URLSearchParams({ limit: String(limit) });
  if (backend !== undefined) query.set('backend', backend);
  if (user !== undefined) query.set('user', user);
  if (movable !== undefined) query.set('movable', String(movable));
  return query.toString();
}
