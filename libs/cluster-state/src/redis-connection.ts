import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { ClusterStateUnusable } from './cluster-state.js';
import type { RedisName } from './redis-reason.js';

export interface RedisSettings {
  /** `redis://` or `rediss://` (TLS), with user, password and database; with `sentinels` its host is the name of the master set. */
  readonly url: string;
  /** `host:port,host:port`, or empty. */
  readonly sentinels: string;
  /** `url` is one node of a Redis Cluster. */
  readonly cluster: boolean;
  /** PEM file of the authority to trust with `rediss://`, or empty for the system's authorities. */
  readonly caFile: string;
  /** Every key begins with `{prefix}:`. */
  readonly prefix: string;
  /** How long an operation may take. */
  readonly timeoutMs: number;
}

type ClientOptions = RedisOptions & { readonly replyMapping: 'legacy' };

/** Reconnects come this fast, so that a lease of a few seconds survives a restart of Redis. */
const reconnectDelayMsMax = 1_000;

/** 25, 50, 100 ... 1000 ms, each between half and all of it, so that a thousand clients do not come back at the same instant. */
export function reconnectDelayMs(attempt: number): number {
  const delayMs = Math.min(25 * 2 ** Math.min(attempt, 10), reconnectDelayMsMax);
  return Math.round(delayMs * (0.5 + Math.random() / 2));
}

/** The clients of one store; none of them is connected yet, and none keeps commands for later. */
export interface RedisClients {
  readonly name: RedisName;
  readonly commands: Redis | Cluster;
  /** A new connection for subscriptions, that does not reconnect by itself; undefined while no node of the cluster is known. */
  newSubscriber(): Redis | undefined;
}

/** Throws `ClusterStateUnusable` when the settings cannot be right; the message never shows the url, which may hold a password. */
export function createRedisClients(settings: RedisSettings): RedisClients {
  const options = connectionOptions(settings);
  const name = nameOf(settings, options);
  const subscriberOptions: ClientOptions = { ...options, retryStrategy: null, sentinelRetryStrategy: () => null, autoResubscribe: false };
  if (!settings.cluster) {
    const commands = new Redis({ ...options, retryStrategy: reconnectDelayMs });
    return { name, commands, newSubscriber: () => new Redis(subscriberOptions) };
  }
  const { host, port, ...nodeOptions } = options;
  const commands = new Cluster([{ host: host!, port: port! }], {
    redisOptions: nodeOptions,
    lazyConnect: true,
    enableOfflineQueue: false,
    clusterRetryStrategy: reconnectDelayMs,
    slotsRefreshTimeout: settings.timeoutMs,
    retryDelayOnFailover: 0, // As without a cluster: a cut command is reported, not sent twice.
    // Names stay names: a certificate is checked against the name, not against what it resolves to.
    ...(options.tls && { dnsLookup: (address: string, callback: (error: null, address: string) => void) => callback(null, address) }),
  });
  const newSubscriber = (): Redis | undefined => {
    // Messages published at any node of a cluster reach subscribers at every node.
    const nodes = commands.nodes('all').filter((node) => node.status !== 'end');
    const node = nodes[Math.floor(Math.random() * nodes.length)];
    return node && new Redis({ ...subscriberOptions, host: node.options.host!, port: node.options.port! });
  };
  return { name, commands, newSubscriber };
}

function nameOf({ sentinels, cluster }: RedisSettings, { host, port, name, tls }: ClientOptions): RedisName {
  const address = host?.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const one = cluster ? `Redis Cluster at ${address}` : `Redis at ${address}`;
  return { text: sentinels === '' ? one : `Redis master ${name} (sentinels ${sentinels})`, tls: tls !== undefined };
}

function connectionOptions(settings: RedisSettings): ClientOptions {
  const url = parseUrl(settings.url);
  const tls = url.protocol === 'rediss:' ? tlsOptions(settings) : undefined;
  const database = url.pathname.slice(1);
  if (!/^\d{0,5}$/.test(database)) throw new ClusterStateUnusable('redis.url: the path must be the number of a database, as in redis://host:6379/0');
  if (settings.cluster && settings.sentinels !== '') throw new ClusterStateUnusable('redis.cluster and redis.sentinels exclude each other');
  const common: ClientOptions = {
    replyMapping: 'legacy',
    // No `enableAutoPipelining`: a lease renewal cost a third more processor time with it, and one batch waits for the one before.
    lazyConnect: true,
    enableOfflineQueue: false,
    // A cut command is reported at once; its caller knows whether to ask again, and that asking again is safe.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: settings.timeoutMs,
    // A server that hangs does not say goodbye.
    disconnectTimeout: 100,
    connectionName: 'binnacle',
    // After a failover the old master says READONLY: connect again, to the new one.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    ...(url.username !== '' && { username: decoded(url.username) }),
    ...(url.password !== '' && { password: decoded(url.password) }),
    ...(database !== '' && { db: Number(database) }),
    ...(tls && { tls }),
  };
  if (settings.sentinels === '') return { ...common, host: url.hostname.replace(/^\[(.*)\]$/, '$1') || '127.0.0.1', port: Number(url.port || 6379) };
  return {
    ...common,
    sentinels: parseSentinels(settings.sentinels),
    name: url.hostname,
    sentinelCommandTimeout: settings.timeoutMs,
    sentinelRetryStrategy: reconnectDelayMs,
    ...(tls && { enableTLSForSentinelMode: true, sentinelTLS: tls }),
  };
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'redis:' && url.protocol !== 'rediss:')) {
    throw new ClusterStateUnusable('redis.url must look like redis://user:password@host:6379/0 (rediss:// for TLS)');
  }
  return url;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new ClusterStateUnusable('redis.url: a % in the user or the password must be written %25');
  }
}

function tlsOptions({ caFile }: RedisSettings): ConnectionOptions {
  if (caFile === '') return {};
  try {
    return { ca: readFileSync(caFile) };
  } catch (cause) {
    throw new ClusterStateUnusable(`redis.ca-file ${caFile} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function parseSentinels(text: string): { host: string; port: number }[] {
  return text.split(',').map((address) => {
    const match = /^\s*([^@]+):(\d{1,5})\s*$/.exec(address);
    if (match === null) throw new ClusterStateUnusable('redis.sentinels must look like host:26379,host:26379');
    return { host: match[1]!, port: Number(match[2]) };
  });
}
