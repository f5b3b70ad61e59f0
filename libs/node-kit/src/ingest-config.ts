import 'reflect-metadata';
import { IsBoolean, IsIn, IsInt, IsString, Matches, Max, Min } from 'class-validator';
import { Key, PortKey } from './config-key.js';
import { areMetricFilters, metricFilterTables, type MetricFilterConfig } from './metric-filters.js';
import { isListOf, numberList, Satisfies } from './value-forms.js';

const isPercent = (value: unknown): boolean => typeof value === 'number' && value !== 0 && Math.abs(value) <= 100;

export class IngestConfig {
  @Key('Address of the statsd listeners. statsd knows no keys: whoever reaches them may count.', { allowed: 'an address or host name' })
  @IsString()
  @Matches(/^\S+$/)
  host = '127.0.0.1';

  @PortKey('statsd lines over UDP. 0 takes a free port.')
  udpPort = 8125;

  @PortKey('statsd lines over TCP. 0 takes a free port.')
  tcpPort = 8125;

  @Key('Listen for statsd lines at all.')
  @IsBoolean()
  statsd = true;

  @Key('Threads that take statsd lines, each with sockets of its own on the same ports (Linux; elsewhere one at most). 0: the thread that does all else. Formula: lines a second / 1,000,000.')
  @IsInt()
  @Min(0)
  @Max(64)
  receiverWorkers = 0;

  @Key('What the kernel may keep of UDP packets that are not read yet, in kilobytes of 2^10 bytes; the system has a limit of its own (`net.core.rmem_max`). Formula: packets a second x their size x the longest pause.')
  @IsInt()
  @Min(16)
  @Max(1_048_576)
  udpBufferKilobytes = 4_096;

  @Key('Connections with statsd lines; one more is closed at once.')
  @IsInt()
  @Min(1)
  @Max(100_000)
  tcpConnectionsMax = 1_024;

  @Key('A TCP connection that sends nothing for this long is closed.')
  @IsInt()
  @Min(1_000)
  @Max(86_400_000)
  tcpIdleMsMax = 600_000;

  @Key('Source of a series that comes as lines: the sender\'s `address`, the value of its tag `host` (`host-tag`), or `none`.')
  @IsIn(['address', 'host-tag', 'none'])
  lineSource = 'address';

  @Key('How often counters, timers and sets are added up, shown and written to the tables.')
  @IsInt()
  @Min(100)
  @Max(3_600_000)
  flushIntervalMs = 10_000;

  @Key('Percents of timers: of a positive one the lowest part of the values, of a negative one the highest.', { form: numberList, allowed: 'up to 32 numbers from -100 to 100, 0 not among them' })
  @Satisfies('percents', (value) => isListOf(isPercent)(value) && (value as unknown[]).length <= 32)
  percents: readonly number[] = [90];

  @Key('A series for which nothing comes for this long is forgotten.')
  @IsInt()
  @Min(1_000)
  @Max(86_400_000)
  expiryMs = 300_000;

  @Key('Series; what comes for further ones is counted under `binnacle.overflow`. Formula: memory / (1 kB + twice the length of name and tags).')
  @IsInt()
  @Min(1)
  @Max(10_000_000)
  seriesMax = 200_000;

  @Key('Series of one keyspace, which is the tag `keyspace` (0 without it), so that one tenant cannot take the room of all.')
  @IsInt()
  @Min(1)
  @Max(10_000_000)
  keyspaceSeriesMax = 100_000;

  @Key('Values of timers kept until the next flush, 8 bytes each, twice while a timer grows; further ones are counted, and of no influence otherwise.')
  @IsInt()
  @Min(1)
  @Max(1_000_000_000)
  timerValuesMax = 4_000_000;

  @Key('Members of sets kept until the next flush, about 0.1 kB each and their text; further ones are not counted.')
  @IsInt()
  @Min(1)
  @Max(100_000_000)
  setMembersMax = 1_000_000;

  @Key('What a message may inflate to, in megabytes of 2^20 bytes; a longer one is refused. As sent it has at most 16.')
  @IsInt()
  @Min(1)
  @Max(1_024)
  inflatedMegabytesMax = 64;

  @Key('What was acknowledged over HTTP and is not flushed yet, on the disk, in megabytes of 2^20 bytes; with more, messages are answered 507. Formula: bytes a second x the flush interval, and some for a disk that is slow.')
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  journalMegabytesMax = 1_024;

  @Key('What waits on the disk for the tables, `ingest.forward-url` and other ingest nodes, in megabytes of 2^20 bytes; the oldest goes then. Formula: 0.2 kB x rows a flush x flushes in the longest outage.')
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  spoolMegabytesMax = 1_024;

  @Key('Send what is flushed on to this gostatsd or Binnacle, too: `http://host:8081`. Empty: nowhere.', { allowed: 'an http or https address without a path, or nothing' })
  @IsString()
  @Matches(/^(|https?:\/\/[^\s/@]+\/?)$/)
  forwardUrl = '';

  @Key('API key for it, sent as a bearer token.', { secret: true, allowed: 'up to 256 visible ASCII characters without spaces, or nothing' })
  @IsString()
  @Matches(/^[\x21-\x7e]{0,256}$/)
  forwardApiKey = '';

  @Key('Write what is flushed to the tables `metrics` and `events` of the storage role.')
  @IsBoolean()
  tables = true;

  @Key('Metrics that are dropped, and tags that are dropped, rewritten or added: see docs/ingest.md.', { form: metricFilterTables, allowed: 'tables of match-metrics, exclude-metrics, match-tags, drop-metric, drop-host, drop-tags, rewrite-tags and add-tags' })
  @Satisfies('filters', areMetricFilters)
  filters: readonly MetricFilterConfig[] = [];
}
