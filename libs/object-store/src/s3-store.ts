import type * as Sdk from '@aws-sdk/client-s3';
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { withDeadline } from './deadline.js';
import { checkKey, checkPrefix, checkRange } from './object-key.js';
import {
  type ByteRange, type GetOptions, type ListOptions, ObjectChanged, type ObjectFacts, ObjectNotFound, type ObjectStore, ObjectStoreUnavailable,
  ObjectStoreUnusable, type OperationOptions, PreconditionFailed, type PutAnswer, type PutOptions, type StoredObject,
} from './object-store.js';
import { ConditionNeverHolds, proveConditions } from './prove-conditions.js';
import { isConditionRefused, s3Error, s3Status } from './s3-error.js';
import { uploadInParts } from './s3-multipart.js';

export interface S3StoreOptions {
  /** '': Amazon's, by the region. */
  readonly s3Endpoint: string;
  /** '': from the environment. */
  readonly s3Region: string;
  readonly s3ForcePathStyle: boolean;
  /** Of one attempt. */
  readonly attemptTimeoutMs: number;
  /** Of one operation with its retries. */
  readonly timeoutMs: number;
  readonly connectionsMax: number;
}

type Condition = Pick<Sdk.PutObjectCommandInput, 'IfMatch' | 'IfNoneMatch'>;

/** Files up to this go in one request, from memory. */
const singlePutBytesMax = 16 * 2 ** 20;
const bytesPerMs = 1_000;
const attemptsMax = 4;
/** Says whose write an object is; in its metadata. */
const writeIdKey = 'binnacle-write';
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/** Objects of a bucket, below a prefix. The SDK retries (with jitter, and a budget); it is loaded when the first store is opened. */
export class S3Store implements ObjectStore {
  readonly url: string;
  readonly #prefix: string;
  #checked: Promise<void> | undefined;
  #lastDateMs = 0;
  /** The standard wants quotes around the etag of If-Match; Ceph 16 holds none but the bare one for equal. `check` finds out. */
  #isEtagBare = false;

  private constructor(
    private readonly sdk: typeof Sdk,
    private readonly client: Sdk.S3Client,
    private readonly bucket: string,
    prefix: string,
    private readonly timeoutMs: number,
  ) {
    this.#prefix = prefix === '' ? '' : `${prefix}/`;
    this.url = `s3://${bucket}/${prefix}`;
    // Beneath the SDK's own steps, so that it sees error answers, too.
    client.middlewareStack.add(
      (next) => async (args) => {
        const result = await next(args);
        const date = (result.response as { headers?: Record<string, string> } | undefined)?.headers?.['date'];
        if (date !== undefined) this.#lastDateMs = Date.parse(date);
        return result;
      },
      { step: 'deserialize', priority: 'low', name: 'keepDate' },
    );
  }

  static async open(bucket: string, prefix: string, options: S3StoreOptions): Promise<S3Store> {
    const { s3Endpoint, s3Region, s3ForcePathStyle, attemptTimeoutMs, timeoutMs, connectionsMax } = options;
    const sdk = await import('@aws-sdk/client-s3');
    const region = s3Region || (s3Endpoint && !process.env['AWS_REGION'] ? 'us-east-1' : '');
    const agent = { keepAlive: true, maxSockets: connectionsMax };
    const client = new sdk.S3Client({
      ...(region ? { region } : {}),
      ...(s3Endpoint ? { endpoint: s3Endpoint } : {}),
      forcePathStyle: s3ForcePathStyle,
      // Whatever is more makes uploads that many other servers refuse.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      retryMode: 'standard',
      maxAttempts: attemptsMax,
      logger: silent,
      requestHandler: {
        connectionTimeout: Math.min(attemptTimeoutMs, 5_000),
        requestTimeout: attemptTimeoutMs,
        throwOnRequestTimeout: true,
        socketTimeout: attemptTimeoutMs,
        httpAgent: agent,
        httpsAgent: agent,
        logger: silent,
      },
    });
    return new S3Store(sdk, client, bucket, prefix, timeoutMs);
  }

  async check({ signal }: OperationOptions = {}): Promise<void> {
    // Without the caller's signal it may be shared; the operations in it have deadlines.
    this.#checked ??= this.#prove().catch((error: unknown) => {
      this.#checked = undefined;
      throw error;
    });
    const checked = this.#checked;
    await withDeadline(this.timeoutMs * 4, signal, () => checked);
  }

  async get(key: string, options: GetOptions = {}): Promise<StoredObject | undefined> {
    checkKey(key);
    return await this.#run(options, (abortSignal) => this.#read(key, options.unlessEtag ? { IfNoneMatch: options.unlessEtag } : {}, abortSignal))
      .catch((error: unknown) => undefinedOn(error, 404, 304));
  }

  async getRange(key: string, range: ByteRange, options: OperationOptions = {}): Promise<Buffer> {
    checkKey(key);
    checkRange(range);
    const last = range.offset + range.length - 1;
    const found = await this.#run(options, (abortSignal) => this.#read(key, { Range: `bytes=${range.offset}-${last}` }, abortSignal)).catch((error: unknown) => {
      if (s3Status(error) === 416) throw new ObjectChanged(`${key} ends before byte ${range.offset}`);
      return undefinedOn(error, 404);
    });
    if (found === undefined) throw new ObjectNotFound(`there is no ${key} in ${this.url}`);
    if (found.body.length !== range.length) throw new ObjectChanged(`${key} ends before byte ${last}`);
    return found.body;
  }

  async head(key: string, options: OperationOptions = {}): Promise<ObjectFacts | undefined> {
    checkKey(key);
    return (await this.#head(key, options))?.facts;
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<PutAnswer> {
    checkKey(key);
    if (options.condition !== undefined) await this.check(options);
    return await this.#put(key, body, options);
  }

  async putFile(key: string, path: string, options: PutOptions = {}): Promise<PutAnswer> {
    checkKey(key);
    const { size } = await stat(path);
    if (size <= singlePutBytesMax) return await this.put(key, await readFile(path), options);
    const timeoutMs = this.timeoutMs + size / bytesPerMs;
    if (options.condition === undefined) {
      return await this.#write(key, options, timeoutMs, (target, _, signal) => uploadInParts(this.sdk, this.client, target, { path, bytes: size }, signal));
    }
    await this.check(options);
    // In one request, which the SDK does not repeat, because it does not keep what it has read.
    return await this.#write(key, options, timeoutMs, async (target, condition, abortSignal) => {
      const command = new this.sdk.PutObjectCommand({ ...target, ...condition, Body: createReadStream(path), ContentLength: size });
      return (await this.client.send(command, { abortSignal, requestTimeout: timeoutMs })).ETag;
    });
  }

  async delete(key: string, options: OperationOptions = {}): Promise<void> {
    checkKey(key);
    await this.#run(options, (abortSignal) => this.client.send(new this.sdk.DeleteObjectCommand(this.#target(key)), { abortSignal }))
      .catch((error: unknown) => undefinedOn(error, 404));
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectFacts> {
    checkPrefix(prefix);
    let ContinuationToken: string | undefined;
    do {
      const input = {
        Bucket: this.bucket,
        Prefix: this.#prefix + prefix,
        ...(options.after ? { StartAfter: this.#prefix + options.after } : {}),
        ...(ContinuationToken ? { ContinuationToken } : {}),
      };
      const page = await this.#run(options, (abortSignal) => this.client.send(new this.sdk.ListObjectsV2Command(input), { abortSignal }));
      for (const { Key = '', Size = 0, ETag = '', LastModified } of page.Contents ?? []) {
        yield { key: Key.slice(this.#prefix.length), bytes: Size, etag: ETag, lastModifiedMs: LastModified?.getTime() ?? 0 };
      }
      ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (ContinuationToken !== undefined);
  }

  async nowMs(): Promise<number> {
    await this.head('clock');
    if (!(this.#lastDateMs > 0)) throw new ObjectStoreUnusable(`${this.url} does not say what time it is (no Date header)`);
    return this.#lastDateMs;
  }

  async close(): Promise<void> {
    this.client.destroy();
  }

  async #prove(): Promise<void> {
    const store = { url: this.url, put: this.#put.bind(this), delete: this.delete.bind(this) };
    try {
      await proveConditions(store);
    } catch (error) {
      if (!(error instanceof ConditionNeverHolds)) throw error;
      this.#isEtagBare = true;
      await proveConditions(store);
    }
  }

  async #put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<PutAnswer> {
    return await this.#write(key, options, this.timeoutMs, async (target, condition, abortSignal) => {
      const command = new this.sdk.PutObjectCommand({ ...target, ...condition, Body: body, ContentLength: body.byteLength });
      return (await this.client.send(command, { abortSignal })).ETag;
    });
  }

  /** A write that was refused may be a repetition of one whose answer got lost: then the object is ours. */
  async #write(
    key: string, options: PutOptions, timeoutMs: number,
    send: (target: { Bucket: string; Key: string; Metadata: Record<string, string> }, condition: Condition, signal: AbortSignal) => Promise<string | undefined>,
  ): Promise<PutAnswer> {
    const writeId = randomUUID();
    const { condition } = options;
    const target = { ...this.#target(key), Metadata: { [writeIdKey]: writeId } };
    let status: number | undefined;
    const sent = (signal: AbortSignal): Promise<string | undefined> =>
      send(target, this.#header(condition), signal).catch((error: unknown) => {
        status = s3Status(error);
        throw error;
      });
    for (let attempt = 1; ; attempt++) {
      try {
        const etag = await this.#run(options, sent, timeoutMs);
        if (etag) return { etag };
        const found = await this.#head(key, options);
        if (found?.writeId === writeId) return { etag: found.facts.etag };
        throw new ObjectStoreUnavailable(`${this.url} took ${key} and has another now`);
      } catch (error) {
        const isGone = condition !== undefined && condition !== 'absent' && status === 404;
        // Ceph's answer to some of those that write one object at the same time, also when none of them has written it yet.
        const isUncertain = condition !== undefined && status === 500;
        if (!isGone && !isUncertain && !isConditionRefused(error)) throw error;
        const found = await this.#head(key, options);
        if (found?.writeId === writeId) return { etag: found.facts.etag };
        const holdsStill = condition === 'absent' ? found === undefined : sameEtag(found?.facts.etag, condition?.etag);
        if (isUncertain && holdsStill && attempt < attemptsMax) continue;
        if (isUncertain && holdsStill) throw error;
        throw new PreconditionFailed(condition === 'absent' ? `${key} exists` : `${key} is another now`);
      }
    }
  }

  async #head(key: string, options: OperationOptions): Promise<{ facts: ObjectFacts; writeId: string | undefined } | undefined> {
    const found = await this.#run(options, (abortSignal) => this.client.send(new this.sdk.HeadObjectCommand(this.#target(key)), { abortSignal }))
      .catch((error: unknown) => undefinedOn(error, 404));
    return found && { facts: factsOf(key, found), writeId: found.Metadata?.[writeIdKey] };
  }

  /** The SDK retries up to the headers; a body that breaks off is asked for again here. */
  async #read(key: string, how: { IfNoneMatch?: string; Range?: string }, abortSignal: AbortSignal): Promise<StoredObject> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.client.send(new this.sdk.GetObjectCommand({ ...this.#target(key), ...how }), { abortSignal });
      try {
        const body = Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
        if (answer.ContentLength !== undefined && body.length !== answer.ContentLength) throw incompleteBody();
        return { ...factsOf(key, answer), body };
      } catch (error) {
        if (attempt === attemptsMax || abortSignal.aborted) throw Object.assign(incompleteBody(), { cause: error });
      }
    }
  }

  /** Errors whose status the caller asks about stay as they are; `undefinedOn` and `#write` turn them. */
  async #run<T>({ signal }: OperationOptions, action: (signal: AbortSignal) => Promise<T>, timeoutMs = this.timeoutMs): Promise<T> {
    try {
      return await withDeadline(timeoutMs, signal, action);
    } catch (error) {
      const isAnswer = [304, 404, 412, 416].includes(s3Status(error) ?? 0) && (error as Error).name !== 'NoSuchBucket';
      throw isAnswer || isConditionRefused(error) ? error : s3Error(this.url, error);
    }
  }

  #header(condition: PutOptions['condition']): Condition {
    if (condition === undefined) return {};
    if (condition === 'absent') return { IfNoneMatch: '*' };
    return { IfMatch: this.#isEtagBare ? condition.etag.replaceAll('"', '') : condition.etag };
  }

  #target(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: this.#prefix + key };
  }
}

function factsOf(key: string, { ContentLength = 0, ETag = '', LastModified }: Pick<Sdk.HeadObjectCommandOutput, 'ContentLength' | 'ETag' | 'LastModified'>): ObjectFacts {
  return { key, bytes: ContentLength, etag: ETag, lastModifiedMs: LastModified?.getTime() ?? 0 };
}

/** Ceph has them without quotes in some places. */
function sameEtag(a = '', b = ''): boolean {
  return a.replaceAll('"', '') === b.replaceAll('"', '');
}

function undefinedOn(error: unknown, ...statuses: number[]): undefined {
  if (!statuses.includes(s3Status(error) ?? 0)) throw error;
}

function incompleteBody(): Error {
  return Object.assign(new Error('the body of an answer broke off'), { name: 'IncompleteBody' });
}
