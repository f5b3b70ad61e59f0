import type { Clock } from './clock.js';
import type {
  Availability,
  CampaignAnswer,
  CampaignRequest,
  Candidate,
  ClusterState,
  DocumentWrite,
  DocumentWriteAnswer,
  HeartbeatAnswer,
  KeyedDocument,
  Lease,
  NodeRecord,
  ResignRequest,
  Tenure,
  Unsubscribe,
  VersionedDocument,
  WatchTopic,
} from './cluster-state.js';
import { keyOf } from './lease-decision.js';
import * as limits from './limits.js';
import { Listeners } from './listeners.js';
import { figuresOf, steadyPart } from './node-record.js';
import { createRedisClients, type RedisSettings } from './redis-connection.js';
import { RedisLink } from './redis-link.js';
import { defineScripts, type LeaseReply, type ScriptCommands } from './redis-scripts.js';
import { RedisSubscriptions } from './redis-subscriptions.js';

/** Cluster state shared by many processes through Redis 7 or newer (or Valkey): standalone, Sentinel or Cluster, with or without TLS. */
export class RedisClusterState implements ClusterState {
  readonly kind = 'redis';
  readonly #prefix: string;
  readonly #link: RedisLink;
  readonly #scripts: ScriptCommands;
  readonly #publish: (channel: string, payload: string) => Promise<number>;
  readonly #subscriptions: RedisSubscriptions;
  readonly #closing = new Listeners<void>();

  private constructor(settings: RedisSettings, clock: Clock) {
    const clients = createRedisClients(settings);
    this.#prefix = `{${settings.prefix}}:`;
    this.#link = new RedisLink(clients.commands, clients.name, clock, settings.timeoutMs);
    this.#scripts = defineScripts(clients.commands);
    this.#publish = (channel, payload) => clients.commands.publish(channel, payload);
    this.#subscriptions = new RedisSubscriptions(() => clients.newSubscriber(), clock, settings.timeoutMs);
    this.#link.onAvailabilityChange(({ available }) => available && this.#subscriptions.wake());
  }

  /** Throws `ClusterStateUnusable` on settings that cannot be right. A store that does not answer is no error: `availability()` says so, and it heals. */
  static async open(settings: RedisSettings, clock: Clock): Promise<RedisClusterState> {
    const state = new RedisClusterState(settings, clock);
    await state.#link.open();
    return state;
  }

  availability(): Availability {
    return this.#link.availability();
  }

  pendingOperations(): number {
    return this.#link.pendingOperations();
  }

  async campaign(request: CampaignRequest): Promise<CampaignAnswer> {
    limits.checkCampaign(request);
    const { lease, candidate, ttlMs, termFloor } = request;
    const { nodeId, incarnation, address } = candidate;
    const record = JSON.stringify({ nodeId, incarnation, address });
    const reply = await this.#link.run(() =>
      this.#scripts.campaign(
        ...this.#leaseKeys(lease), this.#key('leases'),
        keyOf(candidate), record, nodeId, ttlMs, termFloor, lease, this.#key(`watch:lease:${lease}`),
      ),
    );
    return reply[0] === 1 ? { held: true, term: reply[1] } : { held: false, lease: parseLease(lease, reply[1]) };
  }

  async resign(request: ResignRequest): Promise<boolean> {
    limits.checkResign(request);
    const { lease, candidate, term, successor = '', reservedMs = limits.defaultReservedMs } = request;
    const reply = await this.#link.run(() =>
      this.#scripts.resign(
        ...this.#leaseKeys(lease),
        keyOf(candidate), candidate.nodeId, term, successor, reservedMs, this.#key(`watch:lease:${lease}`),
      ),
    );
    return reply === 1;
  }

  async withdraw(lease: string, candidate: Candidate): Promise<void> {
    limits.checkLeaseName(lease);
    limits.checkCandidate(candidate);
    await this.#link.run(() => this.#scripts.withdraw(this.#key(`lease:${lease}:waiting`), keyOf(candidate)));
  }

  async reserve(lease: string, nodeId: string, reservedMs: number): Promise<void> {
    limits.checkLeaseName(lease);
    limits.checkNodeId(nodeId);
    limits.checkDuration('reservedMs', reservedMs);
    await this.#link.run(() => this.#scripts.reserve(this.#key(`lease:${lease}`), nodeId, reservedMs, this.#key(`watch:lease:${lease}`)));
  }

  async lease(name: string): Promise<Lease | undefined> {
    limits.checkLeaseName(name);
    return parseLease(name, await this.#link.run(() => this.#scripts.lease(...this.#leaseKeys(name))));
  }

  async leases(): Promise<Lease[]> {
    const replies = await this.#link.run(() => this.#scripts.leases(this.#key('leases'), this.#key('lease:')));
    const leases = replies.map(([name, ...reply]) => parseLease(name, reply)).filter((lease) => lease !== undefined);
    return leases.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  async leaseHistory(name: string, limit: number): Promise<Tenure[]> {
    limits.checkLeaseName(name);
    const count = limits.checkHistoryLimit(limit);
    const reply = await this.#link.run(() => this.#scripts.leaseHistory(...this.#leaseKeys(name), count));
    return reply.map((json) => JSON.parse(json) as Tenure);
  }

  async heartbeat(node: NodeRecord, ttlMs: number): Promise<HeartbeatAnswer> {
    limits.checkNode(node, ttlMs);
    const [revision, replaced] = await this.#link.run(() =>
      this.#scripts.heartbeat(
        this.#key('nodes'), this.#key('nodes:expiry'), this.#key('revision'),
        node.id, node.incarnation, steadyPart(node), figuresOf(node), ttlMs, this.#key('watch:nodes'),
      ),
    );
    if (revision < 0) throw new RangeError(`the registry holds at most ${limits.nodesMax} nodes`);
    return replaced === '' ? { revision } : { revision, replaced: parseNode(replaced) };
  }

  async deregister(nodeId: string, incarnation: string): Promise<void> {
    limits.checkNodeId(nodeId);
    limits.checkIncarnation(incarnation);
    await this.#link.run(() =>
      this.#scripts.deregister(this.#key('nodes'), this.#key('nodes:expiry'), nodeId, incarnation, this.#key('watch:nodes')),
    );
  }

  async nodes(): Promise<NodeRecord[]> {
    const records = await this.#link.run(() => this.#scripts.nodes(this.#key('nodes'), this.#key('nodes:expiry')));
    return records.map(parseNode).toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }

  async readDocument(key: string): Promise<{ document: VersionedDocument | undefined; revision: number }> {
    limits.checkDocumentKey(key);
    const [version, value, revision] = await this.#link.run(() =>
      this.#scripts.readDocument(this.#key(`document:${key}`), this.#key('revision')),
    );
    return { document: version === 0 ? undefined : { version, value }, revision };
  }

  async documents(): Promise<KeyedDocument[]> {
    const replies = await this.#link.run(() => this.#scripts.documents(this.#key('documents'), this.#key('document:')));
    return replies.map(([key, version, value]) => ({ key, version, value })).toSorted((a, b) => (a.key < b.key ? -1 : 1));
  }

  async writeDocument(request: DocumentWrite): Promise<DocumentWriteAnswer> {
    limits.checkDocumentWrite(request);
    const { key, value, expectedVersion, requestId } = request;
    const [written, version, revision] = await this.#link.run(() =>
      this.#scripts.writeDocument(
        this.#key(`document:${key}`), this.#key(`document:${key}:requests`), this.#key('revision'), this.#key('documents'),
        expectedVersion, value, requestId, this.#key(`watch:document:${key}`), key,
      ),
    );
    return written === 1 ? { written: true, version, revision } : { written: false, version };
  }

  async signal(topic: string, payload: string): Promise<void> {
    limits.checkSignal(topic, payload);
    await this.#link.run(() => this.#publish(this.#key(`signal:${topic}`), payload));
  }

  onSignal(topic: string, listener: (payload: string) => void): Unsubscribe {
    limits.checkTopic(topic);
    return this.#subscriptions.add(this.#key(`signal:${topic}`), listener, () => {});
  }

  watch(topic: WatchTopic, listener: () => void): Unsubscribe {
    limits.checkTopic(topic);
    return this.#subscriptions.add(this.#key(`watch:${topic}`), () => listener(), listener);
  }

  onAvailabilityChange(listener: (availability: Availability) => void): Unsubscribe {
    return this.#link.onAvailabilityChange(listener);
  }

  /** For what belongs to this state and must end with it. */
  onClose(listener: () => void): Unsubscribe {
    return this.#closing.add(listener);
  }

  async close(): Promise<void> {
    this.#closing.notify();
    this.#subscriptions.close();
    this.#link.close();
  }

  #key(name: string): string {
    return this.#prefix + name;
  }

  #leaseKeys(name: string): [string, string, string] {
    const key = this.#key(`lease:${name}`);
    return [key, `${key}:waiting`, `${key}:history`];
  }
}

function parseLease(name: string, [term, record, remainingMs, waiting]: LeaseReply): Lease | undefined {
  if (term === 0) return undefined;
  return { name, term, owner: record === '' ? undefined : (JSON.parse(record) as Candidate), remainingMs, waiting: waiting.toSorted() };
}

/** Three lines: incarnation, steady part, figures. JSON has no line breaks of its own. */
function parseNode(text: string): NodeRecord {
  const [, steady, figures] = text.split('\n');
  return { ...JSON.parse(steady!), ...JSON.parse(figures!) } as NodeRecord;
}
