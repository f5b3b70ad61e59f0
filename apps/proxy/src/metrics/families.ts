import { exponentialBuckets, latencyBuckets, newHistogram, observe } from './histogram.js';

export interface FamilyFacts {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  /** Upper bounds, of a histogram. */
  readonly buckets?: readonly number[];
}

const counter = (name: string, help: string, ...labels: string[]): FamilyFacts => ({ name, help, type: 'counter', labels });
const gauge = (name: string, help: string, ...labels: string[]): FamilyFacts => ({ name, help, type: 'gauge', labels });
const histogram = (name: string, help: string, buckets: readonly number[], ...labels: string[]): FamilyFacts => ({ name, help, type: 'histogram', labels, buckets });

/** Every metric of the proxy: TiProxy's by TiProxy's names, and our own. */
export const families = {
  connections: gauge('tiproxy_server_connections', 'Client connections.'),
  connectionsCreated: counter('tiproxy_server_create_connection_total', 'Client connections that were accepted.'),
  connectionsRejected: counter('tiproxy_server_reject_connection_total', 'Client connections that were refused for want of room.', 'type'),
  disconnections: counter('tiproxy_server_disconnection_total', 'Client connections that ended, by why.', 'type'),
  maxprocs: gauge('tiproxy_server_maxprocs', 'Processes that forward sessions.'),
  event: counter('tiproxy_server_event', 'Starts and stops.', 'type'),
  err: counter('tiproxy_server_err', 'Errors of the proxy itself.', 'type'),
  queries: counter('tiproxy_session_query_total', 'Commands of clients.', 'backend', 'cmd_type'),
  queryDuration: histogram('tiproxy_session_query_duration_seconds', 'From forwarding a command to the end of its answer.', latencyBuckets, 'backend', 'cmd_type'),
  interactionDuration: histogram('tiproxy_session_query_interaction_duration_seconds', 'From forwarding a command to the first byte of its answer.', latencyBuckets, 'backend', 'cmd_type', 'sql_type'),
  handshakeDuration: histogram('tiproxy_session_handshake_duration_seconds', 'From accepting a connection to the end of its login.', latencyBuckets, 'backend'),
  connectionLifetime: histogram('tiproxy_session_conn_lifetime_seconds', 'From accepting a connection to its end.', exponentialBuckets(0.1, 2, 25)),
  backendStatus: gauge('tiproxy_backend_b_status', '1 for a backend that is well, else 0.', 'backend'),
  getBackend: counter('tiproxy_backend_get_backend', 'Searches for a backend, by whether there was one.', 'res'),
  getBackendDuration: histogram('tiproxy_backend_get_backend_duration_seconds', 'How long a connection waited for a backend.', exponentialBuckets(0.000001, 2, 26)),
  dialFailures: counter('tiproxy_backend_dial_backend_fail', 'Connections to a backend that failed.', 'backend'),
  ping: gauge('tiproxy_backend_ping_duration_seconds', 'How long the last health check of a backend took.', 'backend'),
  healthCheck: gauge('tiproxy_backend_health_check_seconds', 'How long the last round of health checks took.'),
  backendSessions: gauge('tiproxy_balance_b_conn', 'Sessions on a backend.', 'backend'),
  migrations: counter('tiproxy_balance_migrate_total', 'Attempts to move a session, by result.', 'from', 'to', 'reason', 'migrate_res'),
  migrationDuration: histogram('tiproxy_balance_migrate_duration_seconds', 'How long an attempt took.', exponentialBuckets(0.0001, 2, 26), 'from', 'to', 'migrate_res'),
  pendingMigrations: gauge('tiproxy_balance_pending_migrate', 'Sessions that are ordered to move and have not yet.', 'from', 'to', 'reason'),
  score: gauge('tiproxy_balance_b_score', 'Score of a backend by factor; the lowest wins.', 'backend', 'factor'),
  inboundBytes: counter('tiproxy_traffic_inbound_bytes', 'Bytes from a backend.', 'backend'),
  inboundPackets: counter('tiproxy_traffic_inbound_packets', 'Packets from a backend.', 'backend'),
  outboundBytes: counter('tiproxy_traffic_outbound_bytes', 'Bytes to a backend.', 'backend'),
  outboundPackets: counter('tiproxy_traffic_outbound_packets', 'Packets to a backend.', 'backend'),
  unmovable: gauge('binnacle_proxy_sessions_unmovable', 'Sessions that cannot move now, by every reason that keeps them.', 'reason'),
  migrationPause: histogram('binnacle_proxy_migration_pause_seconds', 'How long a client could not go on while its session moved.', exponentialBuckets(0.0005, 2, 16), 'migrate_res'),
  reconnects: counter('binnacle_proxy_reconnects_total', 'Sessions whose backend died, by what became of them.', 'result'),
  readRetries: counter('binnacle_proxy_read_retries_total', 'Reads that were sent again after their backend died, by result.', 'result'),
  namespaceSessions: gauge('binnacle_proxy_namespace_connections', 'Client connections of a namespace.', 'namespace'),
  namespaceWaiting: gauge('binnacle_proxy_namespace_waiting', 'Statements that wait for their turn in a namespace.', 'namespace'),
  refused: counter('binnacle_proxy_refused_total', 'Connections and statements refused by the limits of a namespace.', 'namespace', 'reason'),
  slowSuppressed: counter('binnacle_proxy_slow_log_suppressed_total', 'Lines of the slow log that were left out because there were too many.'),
} as const satisfies Record<string, FamilyFacts>;

export type FamilyName = keyof typeof families;

/** Label values joined by NUL, which no label has. */
export const seriesKey = (values: readonly string[]): string => values.join('\0');

/** Series of one family by label values: a number, or a histogram as `histogram.ts` keeps it. */
type SeriesValues = Readonly<Record<string, number | readonly number[]>>;

/** All that a process has measured: plain data. */
export type MetricsSnapshot = Readonly<Partial<Record<FamilyName, SeriesValues>>>;

/** Series of one family; what has other labels is not counted then. Formula: pairs of 64 backends. */
const seriesMax = 4_096;

/** Numbers of one family that change seldom enough to be looked up by their labels. */
export class Family {
  readonly #series = new Map<string, number | Float64Array>();

  constructor(readonly facts: FamilyFacts) {
    if (facts.labels.length === 0) this.#series.set('', facts.buckets === undefined ? 0 : newHistogram(facts.buckets));
  }

  add(by: number, ...labels: string[]): void {
    const key = seriesKey(labels);
    const value = this.#series.get(key) as number | undefined;
    if (value !== undefined || this.#series.size < seriesMax) this.#series.set(key, (value ?? 0) + by);
  }

  set(value: number, ...labels: string[]): void {
    const key = seriesKey(labels);
    if (this.#series.has(key) || this.#series.size < seriesMax) this.#series.set(key, value);
  }

  observe(seconds: number, ...labels: string[]): void {
    const key = seriesKey(labels);
    const buckets = this.facts.buckets as readonly number[];
    let series = this.#series.get(key) as Float64Array | undefined;
    if (series === undefined) {
      if (this.#series.size >= seriesMax) return;
      this.#series.set(key, (series = newHistogram(buckets)));
    }
    observe(series, buckets, seconds);
  }

  /** A gauge as a whole: series that are not in it are gone. */
  replace(values: Iterable<readonly [labels: readonly string[], value: number]>): void {
    this.#series.clear();
    for (const [labels, value] of values) this.set(value, ...labels);
  }

  /** Drops the series with any other value of this label. */
  keepOnly(label: string, kept: ReadonlySet<string>): void {
    const index = this.facts.labels.indexOf(label);
    if (index < 0) return;
    for (const key of this.#series.keys()) if (!kept.has(key.split('\0')[index] as string)) this.#series.delete(key);
  }

  values(): Record<string, number | number[]> {
    return Object.fromEntries([...this.#series].map(([key, value]) => [key, typeof value === 'number' ? value : [...value]]));
  }
}
