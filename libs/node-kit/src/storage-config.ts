import 'reflect-metadata';
import { IsArray, IsBoolean, IsIn, IsInt, IsString, Matches, Max, Min } from 'class-validator';
import { Key } from './config-key.js';

export class StorageConfig {
  @Key('`write` takes rows in and uploads them, `compute` answers queries from the remote store.')
  @IsArray()
  @IsIn(['write', 'compute'], { each: true })
  modes: string[] = ['write', 'compute'];

  @Key('Lease `leader`: failover takes at most this plus a second.')
  @IsInt()
  @Min(500)
  @Max(600_000)
  leaderLeaseTtlMs = 5_000;

  @Key('Lease `remote-gc`, the remote gc owner.')
  @IsInt()
  @Min(500)
  @Max(600_000)
  gcLeaseTtlMs = 60_000;

  @Key('Hash ranges a new collection is split into, each with a write node of its own; more of them spread it over more nodes.')
  @IsInt()
  @Min(1)
  @Max(256)
  regionsPerTable = 4;

  @Key('The regions of a write node that is gone for this long move to others; with the remote tier only.')
  @IsInt()
  @Min(500)
  @Max(3_600_000)
  regionLeaseMs = 30_000;

  @Key('Folders under which snapshots may be written. Empty: `snapshots` in the data folder.')
  @IsArray()
  @IsString({ each: true })
  snapshotRoots: string[] = [];

  @Key('Take a snapshot this often, in `scheduled` under the first of the snapshot roots. 0: never.')
  @IsInt()
  @Min(0)
  @Max(30_000)
  snapshotIntervalMinutes = 0;

  @Key('Scheduled snapshots go into the remote store instead, as `remote:scheduled/NODE/TIME`.')
  @IsBoolean()
  snapshotRemote = false;

  @Key('Scheduled snapshots kept; the oldest go first.')
  @IsInt()
  @Min(1)
  @Max(10_000)
  snapshotsKept = 7;

  @Key('Threads that search. One search keeps one of them busy; a thread takes some 40 MB.')
  @IsInt()
  @Min(1)
  @Max(64)
  searchThreads = 2;

  @Key('A search that waits longer than this for the index to see the latest writes is answered 503 Not Ready or Lagging.')
  @IsInt()
  @Min(100)
  @Max(600_000)
  searchWaitMs = 15_000;

  @Key('Writes are slowed down to the speed of the search index while it would take longer than this to catch up. Formula: the wait allowed to a search, less a second.')
  @IsInt()
  @Min(100)
  @Max(600_000)
  indexLagMsMax = 2_000;

  @Key('A search that runs longer than this is ended; with the wait, less than the 30 s after which the gateway gives up.')
  @IsInt()
  @Min(10)
  @Max(600_000)
  searchTimeoutMs = 10_000;

  @Key('Answers kept for searches with `use_cache`, in megabytes of 2^20 bytes; how many of them is the dynamic setting `cache-num-entries`.')
  @IsInt()
  @Min(1)
  @Max(1_048_576)
  cacheMegabytesMax = 64;

  @Key('The commit log is cut back beyond this many megabytes of 2^20 bytes. A start reads it: about a second for 500.')
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  logMegabytesMax = 256;

  @Key('Writes taken in and not applied yet, in megabytes of 2^20 bytes; further ones wait. They are held in memory.')
  @IsInt()
  @Min(1)
  @Max(100_000)
  pendingWriteMegabytesMax = 64;

  @Key('New rows go to the remote store every 30 s, and before that once they take this many megabytes (of 2^20 bytes) in the log.')
  @IsInt()
  @Min(1)
  @Max(100_000)
  uploadMegabytes = 64;

  @Key('Where a compute node keeps remote files, of this node alone. Empty: `storage/cache` in the data folder.')
  @IsString()
  fileCacheFolder = '';

  @Key('Disk for the file cache, in megabytes of 2^20 bytes: 75 % for files that are kept, 15 % for what is only read through. 0: nothing is kept.')
  @IsInt()
  @Min(0)
  @Max(1_000_000_000)
  fileCacheMegabytes = 10_240;

  @Key('How often manifests of the remote store are looked at, besides when somebody says that one has changed.')
  @IsInt()
  @Min(100)
  @Max(600_000)
  manifestPollMs = 5_000;

  @Key('Rows that are not uploaded yet, as a compute node keeps them for queries on its disk, in megabytes of 2^20 bytes; with more a query waits for an upload.')
  @IsInt()
  @Min(1)
  @Max(100_000)
  freshMegabytesMax = 64;

  @Key('Queries that run at the same time, each in a process of its own.')
  @IsInt()
  @Min(1)
  @Max(64)
  sqlQueriesMax = 2;

  @Key('Queries that wait for others to end; one more is answered 503.')
  @IsInt()
  @Min(0)
  @Max(10_000)
  sqlQueueMax = 32;

  @Key('Memory of one query, in megabytes of 2^20 bytes; its process may take 500 more. Formula: this plus 500, times `storage.sql-queries-max`, is what queries may take.')
  @IsInt()
  @Min(64)
  @Max(1_048_576)
  sqlMemoryMegabytesMax = 512;

  @Key('Threads of one query.')
  @IsInt()
  @Min(1)
  @Max(256)
  sqlThreads = 2;

  @Key('A query that runs longer than this, waiting included, is ended.')
  @IsInt()
  @Min(10)
  @Max(600_000)
  sqlTimeoutMs = 60_000;

  @Key('A query waits this long for the newest writes; then it is answered 503.')
  @IsInt()
  @Min(10)
  @Max(600_000)
  sqlViewTimeoutMs = 10_000;

  @Key('A result with more rows is refused.')
  @IsInt()
  @Min(1)
  @Max(1_000_000_000)
  sqlRowsMax = 1_000_000;
}

export class RemoteConfig {
  @Key('The remote store: `s3://bucket/prefix` or `file:///folder`. Empty: the folder `remote` in the data folder with embedded state; none with Redis.', {
    allowed: '`s3://BUCKET/PREFIX`, `file:///FOLDER`, or nothing',
  })
  @IsString()
  @Matches(/^(|s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/[A-Za-z0-9._=/-]*)?|file:\/\/\/\S+)$/)
  url = '';

  @Key('Address of an S3 that is not Amazon\'s: `https://minio.example.com:9000`. Empty: what the region says.', { allowed: 'an http or https address, or nothing' })
  @IsString()
  @Matches(/^(|https?:\/\/[^\s/@]+\/?)$/)
  s3Endpoint = '';

  @Key("Region of the bucket. Empty: as in the AWS environment and profile; with `remote.s3-endpoint`, us-east-1.")
  @IsString()
  s3Region = '';

  @Key('The bucket goes into the path and not into the host name: what most servers that are not Amazon\'s need.')
  @IsBoolean()
  s3ForcePathStyle = false;

  @Key('One attempt unanswered for this long is given up and tried again.')
  @IsInt()
  @Min(100)
  @Max(600_000)
  attemptTimeoutMs = 10_000;

  @Key('An operation with all its attempts takes at most this long; files get a second more for every megabyte.')
  @IsInt()
  @Min(100)
  @Max(600_000)
  timeoutMs = 30_000;

  @Key('Connections to the remote store; further operations wait for one. Formula: throughput x latency / 8 MiB, and some for small ones.')
  @IsInt()
  @Min(1)
  @Max(10_000)
  connectionsMax = 64;
}
