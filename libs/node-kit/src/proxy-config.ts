import 'reflect-metadata';
import { Type } from 'class-transformer';
import { IsBoolean, IsIn, IsInt, IsNumber, IsString, Matches, Max, Min, ValidateNested } from 'class-validator';
import { Key } from './config-key.js';
import { areBackendClusters, backendClusterTables, type BackendClusterConfig } from './backend-clusters.js';
import { commaList, goDuration, isAddress, isListOf, isNetwork, isPeer, numberList, Satisfies } from './value-forms.js';

/*
 * The SQL proxy: TiProxy's sections, keys and units under TiProxy's names, and a few keys of our own, so that a file written for TiProxy works.
 * What is `dynamic` here can be changed while nodes run, with `PUT /api/admin/config`.
 */

const dynamic = { dynamic: true };
const texts = (value: unknown): boolean => isListOf((each) => typeof each === 'string' && each.length > 0 && each.length <= 256)(value);

export class KeepaliveConfig {
  @Key('Whether the kernel asks a silent peer for a sign of life.', dynamic)
  @IsBoolean()
  enabled = true;

  @Key('Silence after which it asks first. 0: what the system has.', { ...dynamic, named: 'idle', form: goDuration, allowed: 'a duration up to 24h, such as 60s' })
  @IsNumber()
  @Min(0)
  @Max(86_400_000)
  idleMs: number;

  @Key('Unanswered probes after which the peer is gone. 0: 10.', dynamic)
  @IsInt()
  @Min(0)
  @Max(1_000)
  cnt: number;

  @Key('Time between two probes. 0: 1s.', { ...dynamic, named: 'intvl', form: goDuration, allowed: 'a duration up to 1h, such as 3s' })
  @IsNumber()
  @Min(0)
  @Max(3_600_000)
  intvlMs: number;

  constructor(idleMs = 0, cnt = 0, intvlMs = 0) {
    this.idleMs = idleMs;
    this.cnt = cnt;
    this.intvlMs = intvlMs;
  }
}

export class ProxyConfig {
  @Key("The MySQL port; several addresses separated by commas. MySQL's own accounts guard it, so other machines may be let in without a key; give it a certificate then (`security.server-tls.cert`).", {
    form: commaList,
    allowed: 'one or more of host:port',
  })
  @Satisfies('addresses', isListOf(isAddress))
  addr: readonly string[] = ['127.0.0.1:6000'];

  @Key('Listen on all ports from the first to the last of these two, on the one host of `proxy.addr`: a port may decide the namespace.', {
    form: numberList,
    allowed: 'two ports, the lower first; or nothing',
  })
  @Satisfies('a range of ports', (value) => Array.isArray(value) && (value.length === 0 || (value.length === 2 && value.every((port) => Number.isInteger(port) && port > 0 && port <= 65_535) && value[0] <= value[1] && value[1] - value[0] < 1_024)))
  portRange: readonly number[] = [];

  @Key('Client connections of this node; one more is refused with error 1040. 0: no limit.', dynamic)
  @IsInt()
  @Min(0)
  @Max(10_000_000)
  maxConnections = 0;

  @Key('New connections are refused with error 1040 while this share of the memory is in use. 0: never; what is less than 0.5 counts as 0.5.', {
    ...dynamic,
    form: { read: (value) => (typeof value === 'number' && value > 0 && value < 0.5 ? 0.5 : typeof value === 'string' && /^\d?\.?\d+$/.test(value) ? Number(value) : value), show: (value: number) => value },
    allowed: 'a number from 0 to 1',
  })
  @IsNumber()
  @Min(0)
  @Max(1)
  highMemoryUsageRejectThreshold = 0.9;

  @Key('`v2`: clients may send a PROXY header, and backends are sent one, so they must expect it.', dynamic)
  @IsIn(['', 'v2'])
  proxyProtocol = '';

  @Key('Networks whose PROXY headers are believed. Empty: any, which is only right where no client can reach the port past the load balancer.', { ...dynamic, allowed: 'networks such as 10.0.0.0/8' })
  @Satisfies('networks', isListOf(isNetwork))
  proxyProtocolNetworks: readonly string[] = [];

  @Key('A stopping node reports itself as unhealthy for so many seconds while its port still takes connections, so that load balancers turn away from it.', { ...dynamic, named: 'graceful-wait-before-shutdown' })
  @IsInt()
  @Min(0)
  @Max(86_400)
  gracefulWaitBeforeShutdownS = 0;

  @Key('Then it waits so many seconds for transactions to end before it closes what is left.', { ...dynamic, named: 'graceful-close-conn-timeout' })
  @IsInt()
  @Min(0)
  @Max(86_400)
  gracefulCloseConnTimeoutS = 15;

  @Key('Backends, by address or host name, that get no sessions and lose those they have. Ignored where nothing else would be left.', { ...dynamic, allowed: 'a list of texts' })
  @Satisfies('names', texts)
  failBackendList: readonly string[] = [];

  @Key('Seconds after which sessions that could not leave a backend of that list, or a drained one, are closed. 0: at once.', { ...dynamic, named: 'failover-timeout' })
  @IsInt()
  @Min(0)
  @Max(86_400)
  failoverTimeoutS = 60;

  @ValidateNested() @Type(() => KeepaliveConfig) frontendKeepalive = new KeepaliveConfig();
  @ValidateNested() @Type(() => KeepaliveConfig) backendHealthyKeepalive = new KeepaliveConfig(60_000, 5, 3_000);
  @ValidateNested() @Type(() => KeepaliveConfig) backendUnhealthyKeepalive = new KeepaliveConfig(10_000, 5, 1_000);

  @Key("Addresses of TiDB's PD: the backends are the TiDB servers it knows.", { form: commaList, allowed: 'host:port, several separated by commas; or nothing' })
  @Satisfies('addresses', isListOf(isPeer))
  pdAddrs: readonly string[] = [];

  @Key('Several clusters behind one proxy, each with a `name` and its `pd-addrs` or `backends`, and `ns-servers` for its names. Namespaces choose among them.', {
    ...dynamic,
    form: backendClusterTables,
    allowed: 'tables with name, pd-addrs, backends, ns-servers (JSON outside the file)',
  })
  @Satisfies('clusters', areBackendClusters)
  backendClusters: readonly BackendClusterConfig[] = [];

  @Key('Fixed backends: MySQL, MariaDB or TiDB servers that hold the same data.', { ...dynamic, allowed: 'a list of host:port' })
  @Satisfies('addresses', isListOf(isPeer))
  backends: readonly string[] = [];

  @Key('Names that are looked up every few seconds: each of their addresses is a backend.', { ...dynamic, allowed: 'a list of host:port' })
  @Satisfies('addresses', isListOf(isPeer))
  backendDns: readonly string[] = [];

  @Key('A service of Kubernetes whose ready endpoints are the backends, read with the pod\'s own service account.', { allowed: 'namespace/service:port, or nothing' })
  @IsString()
  @Matches(/^(|[a-z0-9-]{1,63}\/[a-z0-9.-]{1,253}:[a-z0-9-]{1,15})$/)
  kubernetesEndpoints = '';

  @Key('Processes that forward sessions; 1 is the node\'s own process.')
  @IsInt()
  @Min(1)
  @Max(64)
  workers = 1;

  @Key('File with the passwords of MySQL accounts, so that their sessions can log in again elsewhere. Reloaded when it changes.')
  @IsString()
  usersFile = '';

  @Key("Keep in memory what a client's login tells of its password, so that its session can log in again elsewhere; with mysql_native_password that takes a health user that may read mysql.user. Nothing of it is ever written.", dynamic)
  @IsBoolean()
  keepCredentials = false;

  @Key('Account the health checks ask with; without one they stop at the greeting, and know neither replicas nor clusters.')
  @IsString()
  healthUser = '';

  @Key('Its password.', { secret: true })
  @IsString()
  healthPassword = '';

  @Key('Pause between two health checks of a backend.', dynamic)
  @IsInt()
  @Min(50)
  @Max(600_000)
  healthCheckIntervalMs = 3_000;

  @Key('A health check unanswered for this long has failed.', dynamic)
  @IsInt()
  @Min(50)
  @Max(60_000)
  healthCheckTimeoutMs = 2_000;

  @Key('A backend is unhealthy once so many more checks in a row, `health-check-retry-interval-ms` apart, have failed too.', dynamic)
  @IsInt()
  @Min(0)
  @Max(100)
  healthCheckRetries = 3;

  @Key('Pause before a failed health check is tried again.', dynamic)
  @IsInt()
  @Min(10)
  @Max(60_000)
  healthCheckRetryIntervalMs = 1_000;

  @Key('From the first byte of a client to the end of its login, and the same for logins at a backend.', dynamic)
  @IsInt()
  @Min(100)
  @Max(600_000)
  loginTimeoutMs = 10_000;

  @Key('Compress what goes to and from backends that can: `zlib` (all), `zstd` (MySQL 8). Empty: not, which is right within a data centre.', dynamic)
  @IsIn(['', 'zlib', 'zstd'])
  backendCompression: '' | 'zlib' | 'zstd' = '';

  @Key('Send a read whose backend died under it to another one, outside transactions and if none of its answer had come.', dynamic)
  @IsBoolean()
  readRetry = false;

  @Key('An idle session whose backend died gets another one, if it held nothing there.', dynamic)
  @IsBoolean()
  reconnectIdle = true;

  @Key('Stored functions that leave nothing behind in their session: calling them does not tie it to its backend.', { ...dynamic, allowed: 'a list of texts' })
  @Satisfies('names', texts)
  allowedFunctions: readonly string[] = [];

  @Key('The same of stored procedures.', { ...dynamic, allowed: 'a list of texts' })
  @Satisfies('names', texts)
  allowedProcedures: readonly string[] = [];

  @Key('Take for granted that triggers, views and column defaults take no locks and draw from no sequences, where nobody may look into them.', dynamic)
  @IsBoolean()
  trustStoredCode = false;

  @Key("Version that clients are greeted with. Empty: the backend's.", { ...dynamic, allowed: 'up to 60 visible ASCII characters' })
  @IsString()
  @Matches(/^[\x21-\x7e]{0,60}$/)
  serverVersion = '';

  @Key('Traffic may be captured and replayed through the HTTP API.', dynamic)
  @IsBoolean()
  enableTrafficReplay = true;

  @Key('Folders and buckets under which captures may be written and read: `/var/captures`, `s3://bucket/prefix`. Empty: `traffic` in the data folder.', { allowed: 'a list of absolute folders and `s3://BUCKET/PREFIX`' })
  @Satisfies('places', isListOf((each) => typeof each === 'string' && /^(\/|s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/|$))/.test(each)))
  trafficRoots: readonly string[] = [];
}

export class TlsConfig {
  @Key('PEM file of the certificate.')
  @IsString()
  cert = '';

  @Key('PEM file of its private key.')
  @IsString()
  key = '';

  @Key('PEM file of the authority that must have signed the certificate of the other side.')
  @IsString()
  ca = '';

  @Key('Oldest version of TLS that is spoken.')
  @IsIn(['1.2', '1.3'])
  minTlsVersion = '1.2';

  @Key("Without `ca`: encrypt, and take any certificate of the other side. With `ca`, at the port: a client may come without a certificate.")
  @IsBoolean()
  skipCa = false;
}

export class SecurityConfig {
  @ValidateNested() @Type(() => TlsConfig) serverTls = new TlsConfig();
  @ValidateNested() @Type(() => TlsConfig) clusterTls = new TlsConfig();
  @ValidateNested() @Type(() => TlsConfig) sqlTls = new TlsConfig();

  @Key('Clients that log in without TLS are refused with error 3159. Needs `security.server-tls.cert`.', dynamic)
  @IsBoolean()
  requireClientTls = false;

  @Key('Backends that do not speak TLS are refused.', dynamic)
  @IsBoolean()
  requireBackendTls = false;

  @Key('File with the key of encrypted captures: its first 32 bytes count.')
  @IsString()
  encryptionKeyPath = '';
}

export class StatusFactorConfig {
  @Key('Sessions moved a second, from one backend, for this reason. 0: the built-in speed.', dynamic)
  @IsNumber()
  @Min(0)
  @Max(1_000_000)
  migrationsPerSecond = 0;
}

export class FactorConfig extends StatusFactorConfig {
  @Key('Whether it counts at all.', dynamic)
  @IsBoolean()
  enabled = true;
}

export class CpuFactorConfig extends FactorConfig {
  @Key('Below this share of CPU in use nothing is moved because of it.', dynamic)
  @IsNumber()
  @Min(0)
  @Max(1)
  minBalanceUsage = 0;
}

export class ConnCountFactorConfig extends StatusFactorConfig {
  @Key('Sessions move from a backend that has more than this times those of another one, plus one. 0: 1.2.', { ...dynamic, allowed: '0, or a number over 1' })
  @Satisfies('a ratio', (value) => value === 0 || (typeof value === 'number' && value > 1 && value <= 1_000))
  countRatioThreshold = 1.2;
}

export class BalanceConfig {
  @Key('Label whose value a backend must share with the proxy (`labels`) to be preferred. Empty: none.', dynamic)
  @IsString()
  labelName = '';

  @Key('What counts first after labels and health: load, nearness, or the number of sessions alone.', dynamic)
  @IsIn(['resource', 'location', 'connection'])
  policy = 'resource';

  @Key('How a new session chooses among backends: an idle one, any, or the idlest.', dynamic)
  @IsIn(['prefer-idle', 'random', 'idlest'])
  routingPolicy = 'prefer-idle';

  @ValidateNested() @Type(() => StatusFactorConfig) status = new StatusFactorConfig();
  @ValidateNested() @Type(() => FactorConfig) health = new FactorConfig();
  @ValidateNested() @Type(() => FactorConfig) memory = new FactorConfig();
  @ValidateNested() @Type(() => CpuFactorConfig) cpu = new CpuFactorConfig();
  @ValidateNested() @Type(() => FactorConfig) location = new FactorConfig();
  @ValidateNested() @Type(() => ConnCountFactorConfig) connCount = new ConnCountFactorConfig();
}

export class AdvanceConfig {
  @Key('Measure from forwarding a command to the first byte of its answer.', dynamic)
  @IsBoolean()
  queryInteractionMetrics = false;

  @Key('Those that take this long or longer are logged, while they are measured. 0: none.', dynamic)
  @IsInt()
  @Min(0)
  @Max(86_400_000)
  queryInteractionSlowLogThresholdMs = 200;

  @Key('Log only the digest of such a statement, not its text without values.', dynamic)
  @IsBoolean()
  queryInteractionSlowLogOnlyDigest = false;

  @Key('Users they are measured for: names with `*` and `?`, separated by commas, case-sensitive. Empty: all.', { ...dynamic, allowed: 'up to 4096 characters' })
  @IsString()
  @Matches(/^[^\0]{0,4096}$/)
  queryInteractionUserPatterns = '';

  @Key('Seconds between two looks for backends whose metrics nobody needs any more. 0: never.', dynamic)
  @IsInt()
  @Min(0)
  @Max(86_400)
  backendMetricsGcIntervalSeconds = 300;

  @Key('The metrics of a backend without traffic for so many seconds are dropped. 0: never.', dynamic)
  @IsInt()
  @Min(0)
  @Max(31_536_000)
  backendMetricsGcIdleSeconds = 3_600;
}
