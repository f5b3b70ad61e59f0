import 'reflect-metadata';
import { Type } from 'class-transformer';
import { IsArray, IsBoolean, IsIn, IsInt, IsString, Matches, Max, Min, ValidateNested } from 'class-validator';
import { Key, PortKey } from './config-key.js';
import { IngestConfig } from './ingest-config.js';
import { AdvanceConfig, BalanceConfig, ProxyConfig, SecurityConfig } from './proxy-config.js';
import { RemoteConfig, StorageConfig } from './storage-config.js';
import { isTextTable, logLevel, Satisfies, textTable } from './value-forms.js';

/*
 * The configuration of a node: file (TOML) < environment < flags. `[gateway] api-key` in the file is BINNACLE_GATEWAY_API_KEY in the
 * environment and --gateway.api-key as a flag; a key outside a section (`data-dir`) is BINNACLE_DATA_DIR and --data-dir.
 * In code the names are camel case. Every class lists all its keys with their defaults, so an unknown key can be told from a known one.
 */

export class RedisConfig {
  @Key('`redis://` or `rediss://` (TLS) address. Empty: embedded state, for one process alone.', { secret: true })
  @IsString()
  url = '';

  @Key('Sentinels as `host:port,host:port`; then `url` names the master set as its host: `redis://user:password@mymaster/0`.')
  @IsString()
  sentinels = '';

  @Key('Talk to a Redis Cluster whose first node is `url`.')
  @IsBoolean()
  cluster = false;

  @Key("PEM file of the authority that signed the server's certificate, with `rediss://`.")
  @IsString()
  caFile = '';

  @Key('All Redis keys begin with `{prefix}:`: one hash tag, so one slot of a Redis Cluster.', { allowed: '1 to 32 letters, digits, _ or -' })
  @IsString()
  @Matches(/^[\w-]{1,32}$/)
  prefix = 'binnacle';

  @Key('An operation unanswered for this long is given up.')
  @IsInt()
  @Min(50)
  @Max(60_000)
  timeoutMs = 2_000;
}

export class NodeListenerConfig {
  @Key('Name in the registry. Empty: kept in the data folder, made up at the first start.', { allowed: 'up to 64 letters, digits, dots, _ or -' })
  @IsString()
  @Matches(/^[A-Za-z0-9._-]{0,64}$/)
  id = '';

  @Key('Address the node listener binds. Anything but loopback needs `node.cluster-secret`.', { allowed: 'an address or host name' })
  @IsString()
  @Matches(/^\S+$/)
  host = '127.0.0.1';

  @Key('Address that others reach this node by, when it is not `node.host`.')
  @IsString()
  advertiseHost = '';

  @PortKey("The node listener: agent, probes, metrics, and what the gateway forwards. 0 takes a free port; -1 the role's default.", -1)
  port = -1;

  @Key('Availability zone; shown in the registry.')
  @IsString()
  zone = '';

  @Key('Shared by all nodes of a cluster. Empty: kept in the data folder, made up at the first start (one machine only).', {
    secret: true,
    allowed: '16 to 256 visible ASCII characters, or nothing',
  })
  @IsString()
  @Matches(/^(|[\x21-\x7e]{16,256})$/)
  clusterSecret = '';

  @Key('A node unheard of for this long is gone. Heartbeats go every third of it.')
  @IsInt()
  @Min(500)
  @Max(60_000)
  heartbeatTtlMs = 5_000;

  @Key('How long a stopping node still takes requests, so that every gateway has heard of it: at least one registry poll (1 s).')
  @IsInt()
  @Min(0)
  @Max(300_000)
  drainDelayMs = 1_500;

  @Key("From the first signal to the end; what still runs then is cut off. Kubernetes' grace period must be longer.")
  @IsInt()
  @Min(1_000)
  @Max(900_000)
  shutdownDeadlineMs = 20_000;
}

export class LogConfig {
  @Key('Lines below this level are not written. TiProxy\'s `warning` and `panic` are warn and fatal.', { form: logLevel, dynamic: true })
  @IsIn(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
  level = 'info';

  @Key('`auto`: pretty on a terminal, else JSON.')
  @IsIn(['auto', 'json', 'pretty'])
  format = 'auto';
}

export class GatewayConfig {
  @Key('Address of the public listeners. Anything but loopback needs an API key or mTLS.', { allowed: 'an address or host name' })
  @IsString()
  @Matches(/^\S+$/)
  host = '127.0.0.1';

  @PortKey('Every path of every dialect. 0 takes a free port.')
  port = 8080;

  @PortKey('TiFlash dialect.')
  tiflashPort = 20_292;

  @PortKey('TiProxy dialect.')
  tiproxyPort = 3080;

  @PortKey('gostatsd dialect.')
  gostatsdPort = 8081;

  @PortKey('Typesense dialect.')
  typesensePort = 8108;

  @Key('The bootstrap key: every scope. Further keys are made with `POST /keys`. Without any key and on loopback, every request is let in.', {
    secret: true,
    allowed: 'up to 256 visible ASCII characters without spaces, at least 16 when `gateway.host` is not loopback; or nothing',
  })
  @IsString()
  @Matches(/^[\x21-\x7e]{0,256}$/)
  apiKey = '';

  @Key('PEM file of the certificate chain of the public listeners. Reloaded when it changes.')
  @IsString()
  tlsCertFile = '';

  @Key('PEM file of its private key.')
  @IsString()
  tlsKeyFile = '';

  @Key('PEM file of the authority of client certificates; set, clients must show one (mTLS).')
  @IsString()
  tlsCaFile = '';

  @Key('Common names let in with mTLS. Empty: every certificate the authority signed.')
  @IsArray()
  @IsString({ each: true })
  certAllowedCn: string[] = [];

  @Key('Open connections over all listeners; one more is refused. About 10 kB each when idle.')
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  connectionsMax = 20_000;

  @Key("Requests on their way to one node at a time; one more is answered 503. Formula: target's throughput x its latency x 4.")
  @IsInt()
  @Min(1)
  @Max(100_000)
  outstandingPerNodeMax = 1_024;
}

export class HealthConfig {
  @Key('A check unanswered for this long has failed.')
  @IsInt()
  @Min(10)
  @Max(60_000)
  checkDeadlineMs = 2_000;

  @Key('A result is kept for this long, however often it is asked for.')
  @IsInt()
  @Min(0)
  @Max(60_000)
  checkCacheMs = 1_000;

  @Key('Event loop delay (99th percentile over the last 10 s) from which a node counts as unwell.')
  @IsInt()
  @Min(1)
  @Max(60_000)
  eventLoopDelayMsMax = 500;

  @Key('Below this share of free disk under the data folder a node reports OUT_OF_DISK.')
  @IsInt()
  @Min(0)
  @Max(100)
  diskFreePercentMin = 5;

  @Key("Below this share of available memory (of the cgroup's limit where there is one) it reports OUT_OF_MEMORY.")
  @IsInt()
  @Min(0)
  @Max(100)
  memoryFreePercentMin = 3;
}

export class ProfilingConfig {
  @Key('Kept profiles older than this are deleted.')
  @IsInt()
  @Min(1)
  @Max(3_650)
  keepDaysMax = 7;

  @Key('Kept profiles take at most this much of the disk, in megabytes of 2^20 bytes; the oldest go first, continuous ones before requested ones.')
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  keepMegabytesMax = 1_024;

  @Key('Profile the CPU of every node for 10 s of each minute, at 19 Hz.')
  @IsBoolean()
  continuous = false;

  @Key('Nodes profiled at the same time by continuous profiling. About four times as many have one each minute; where there are more, they take turns.')
  @IsInt()
  @Min(1)
  @Max(100)
  continuousNodesAtOnceMax = 8;

  @Key('Periodic heap dumps kept of one node; the oldest go first.')
  @IsInt()
  @Min(1)
  @Max(10_000)
  heapDumpsMax = 100;

  @Key('The same of all nodes together, in megabytes of 2^20 bytes.')
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  heapDumpsMegabytesMax = 1_024;
}

export class NodeConfig {
  @Key('Everything the node keeps.', { allowed: 'a folder' })
  @IsString()
  @Matches(/\S/)
  dataDir = './data';

  @Key('Added once, at load, to every port that is not 0.')
  @IsInt()
  @Min(0)
  @Max(50_000)
  portOffset = 0;

  @ValidateNested() @Type(() => NodeListenerConfig) node = new NodeListenerConfig();
  @ValidateNested() @Type(() => RedisConfig) redis = new RedisConfig();
  @ValidateNested() @Type(() => LogConfig) log = new LogConfig();
  @ValidateNested() @Type(() => GatewayConfig) gateway = new GatewayConfig();
  @ValidateNested() @Type(() => StorageConfig) storage = new StorageConfig();
  @ValidateNested() @Type(() => RemoteConfig) remote = new RemoteConfig();
  @ValidateNested() @Type(() => HealthConfig) health = new HealthConfig();
  @ValidateNested() @Type(() => ProfilingConfig) profiling = new ProfilingConfig();
  @ValidateNested() @Type(() => IngestConfig) ingest = new IngestConfig();
  @ValidateNested() @Type(() => ProxyConfig) proxy = new ProxyConfig();
  @ValidateNested() @Type(() => BalanceConfig) balance = new BalanceConfig();
  @ValidateNested() @Type(() => SecurityConfig) security = new SecurityConfig();
  @ValidateNested() @Type(() => AdvanceConfig) advance = new AdvanceConfig();

  @Key('What tells this SQL proxy from others: `zone` for nearness, and the label that `balance.label-name` names.', {
    dynamic: true,
    form: textTable,
    allowed: 'a table of texts; zone=east,rack=1 outside the file',
  })
  @Satisfies('a table of texts', isTextTable)
  labels: Readonly<Record<string, string>> = {};

  @Key('The configuration file. Only as a flag or in the environment.')
  @IsString()
  config = '';
}
