import { Type } from 'class-transformer';
import { IsArray, IsBoolean, IsIn, IsInt, IsOptional, IsString, Matches, Max, Min, ValidateNested } from 'class-validator';

/*
 * The configuration of a node: file (TOML) < environment < flags. `[gateway] api-key` in the file is BINNACLE_GATEWAY_API_KEY in the
 * environment and --gateway.api-key as a flag; a key outside a section (`data-dir`) is BINNACLE_DATA_DIR and --data-dir.
 * In code the names are camel case. Every class lists all its keys with their defaults, so an unknown key can be told from a known one.
 */

const port = () => (target: object, key: string) => {
  IsInt()(target, key);
  Min(0)(target, key);
  Max(65_535)(target, key);
};

export class RedisConfig {
  /** `redis://`, `rediss://` (TLS); empty: embedded state, one process only. */
  @IsString() url = '';
  /** Sentinels as `host:port,host:port`; then `url` names the master set in its path: `redis://user:password@mymaster/0`. */
  @IsString() sentinels = '';
  /** Talk to a Redis Cluster whose first node is `url`. */
  @IsBoolean() cluster = false;
  /** PEM file of the authority that signed the server's certificate, with `rediss://`. */
  @IsString() caFile = '';
  /** All keys begin with `{prefix}:`: one hash tag, so one slot of a Redis Cluster. */
  @IsString() @Matches(/^[\w-]{1,32}$/) prefix = 'binnacle';
  /** An operation unanswered for this long is given up. */
  @IsInt() @Min(50) @Max(60_000) timeoutMs = 2_000;
}

export class NodeListenerConfig {
  /** Name in the registry; empty: kept in the data folder, made up at the first start. */
  @IsString() @Matches(/^[A-Za-z0-9._-]{0,64}$/) id = '';
  @IsString() host = '127.0.0.1';
  /** Address that others reach this node by, when it is not `host`. */
  @IsString() advertiseHost = '';
  /** The node listener: agent, probes, metrics, and what the gateway forwards. 0 takes a free port; -1 takes the role's default. */
  @IsInt() @Min(-1) @Max(65_535) port = -1;
  @IsString() zone = '';
  /** Shared by all nodes of a cluster; empty: kept in the data folder, made up at the first start (one machine only). */
  @IsString() clusterSecret = '';
  /** A node unheard of for this long is gone. Heartbeats go every third of it. */
  @IsInt() @Min(500) @Max(60_000) heartbeatTtlMs = 5_000;
  /** How long a stopping node still takes requests, so that every gateway has heard of it: at least one registry poll (1 s). */
  @IsInt() @Min(0) @Max(300_000) drainDelayMs = 1_500;
  /** From the first signal to the end; what still runs then is cut off. Kubernetes' grace period must be longer. */
  @IsInt() @Min(1_000) @Max(900_000) shutdownDeadlineMs = 20_000;
}

export class LogConfig {
  @IsIn(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']) level = 'info';
  /** `auto`: pretty on a terminal, else JSON. */
  @IsIn(['auto', 'json', 'pretty']) format = 'auto';
}

export class GatewayConfig {
  @IsString() host = '127.0.0.1';
  @port() port = 8080;
  @port() tiflashPort = 20_292;
  @port() tiproxyPort = 3080;
  @port() gostatsdPort = 8081;
  @port() typesensePort = 8108;
  /** The bootstrap key: every scope. Further keys are made with `POST /keys`. Without any key and on loopback, every request is let in. */
  @IsString() apiKey = '';
  @IsString() tlsCertFile = '';
  @IsString() tlsKeyFile = '';
  /** Authority of client certificates; set, clients must show one (mTLS). */
  @IsString() tlsCaFile = '';
  /** Common names let in with mTLS; empty: every certificate the authority signed. */
  @IsArray() @IsString({ each: true }) certAllowedCn: string[] = [];
  /** Open connections over all listeners; one more is refused. About 10 kB each when idle. */
  @IsInt() @Min(1) @Max(1_000_000) connectionsMax = 20_000;
  /** Requests on their way to one node at a time; one more is answered 503. Formula: target's throughput x its latency x 4. */
  @IsInt() @Min(1) @Max(100_000) outstandingPerNodeMax = 1_024;
}

export class StorageConfig {
  /** `write` takes rows in and uploads them, `compute` answers queries from the remote store. */
  @IsArray() @IsIn(['write', 'compute'], { each: true }) modes: string[] = ['write', 'compute'];
  /** Lease `leader`: failover takes at most this plus a second. */
  @IsInt() @Min(500) @Max(600_000) leaderLeaseTtlMs = 5_000;
  /** Lease `remote-gc`, the remote gc owner. */
  @IsInt() @Min(500) @Max(600_000) gcLeaseTtlMs = 60_000;
}

export class HealthConfig {
  /** A check unanswered for this long has failed. */
  @IsInt() @Min(10) @Max(60_000) checkDeadlineMs = 2_000;
  /** A result is kept for this long, however often it is asked for. */
  @IsInt() @Min(0) @Max(60_000) checkCacheMs = 1_000;
  /** Event loop delay (99th percentile over the last 10 s) from which a node counts as unwell. */
  @IsInt() @Min(1) @Max(60_000) eventLoopDelayMsMax = 500;
  /** Below this share of free disk under the data folder a node reports OUT_OF_DISK. */
  @IsInt() @Min(0) @Max(100) diskFreePercentMin = 5;
  /** Below this share of available memory (of the cgroup's limit where there is one) it reports OUT_OF_MEMORY. */
  @IsInt() @Min(0) @Max(100) memoryFreePercentMin = 3;
}

export class NodeConfig {
  /** Everything the node keeps. */
  @IsString() dataDir = './data';
  /** Added to every port that is not 0. */
  @IsInt() @Min(0) @Max(50_000) portOffset = 0;
  @ValidateNested() @Type(() => NodeListenerConfig) node = new NodeListenerConfig();
  @ValidateNested() @Type(() => RedisConfig) redis = new RedisConfig();
  @ValidateNested() @Type(() => LogConfig) log = new LogConfig();
  @ValidateNested() @Type(() => GatewayConfig) gateway = new GatewayConfig();
  @ValidateNested() @Type(() => StorageConfig) storage = new StorageConfig();
  @ValidateNested() @Type(() => HealthConfig) health = new HealthConfig();
  /** Configuration file; only from flag or environment. */
  @IsOptional() @IsString() config = '';
}

/** Masked by `--print-config` and in every log. */
export const secretKeys: ReadonlySet<string> = new Set(['node.cluster-secret', 'gateway.api-key', 'redis.url']);
