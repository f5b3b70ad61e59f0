import { pipeline, type Readable } from 'node:stream';
import { missingParts, parsePart } from './capture-part.js';
import { compareFiles, type FilePrefix, metaName, type NamedFile, namedFile } from './file-names.js';
import { findLayers, headBytes, type Layers, readingStreams } from './layers.js';
import { merged } from './merged.js';
import type { ReadRecord } from './record.js';
import { RecordDecoder, TrafficFileError } from './record-decoder.js';
import { ResultDecoder, type TimedResult } from './results-file.js';
import type { S3StoreOptions } from '@binnacle/object-store/s3-store';
import { type InputFile, openInput, type TrafficInput } from './traffic-input.js';
import { isEncrypted, parseMeta, type TrafficMeta } from './traffic-meta.js';

/** What was given cannot be replayed; the message says why, for people. */
export class TrafficInputError extends Error {
  override readonly name = 'TrafficInputError';
}

export interface TrafficReaderOptions {
  /** A folder, `file:///folder` or `s3://bucket/prefix` with the files of one capture, or with folders of such, one for each process. */
  readonly input: string;
  /** For buckets: how to speak to them. */
  readonly store: S3StoreOptions;
  readonly key?: Buffer;
  /** Default: 64 MiB. */
  readonly payloadBytesMax?: number;
  /** Such as a file that ends too early. */
  readonly onWarning?: (message: string) => void;
  /** If given, what cannot be read is left out and said here; else the reading ends with it. */
  readonly onDamage?: (error: TrafficFileError) => void;
}

/** What one process captured. */
export interface TrafficSource {
  /** Of its folder; '' if that is the input itself. */
  readonly name: string;
  readonly meta?: TrafficMeta;
  /** Nothing is missing at the end, as far as `meta` says. */
  readonly isComplete: boolean;
  readonly files: readonly InputFile[];
  readonly resultFiles: readonly InputFile[];
}

const namesShownMax = 10;

/** Reads a capture of Binnacle's or TiProxy's, or several that are one, in order. Files are never in memory whole: of each folder some pieces of two files are. */
export class TrafficReader {
  private constructor(
    private readonly input: TrafficInput,
    private readonly options: TrafficReaderOptions,
    readonly sources: readonly TrafficSource[],
    /** For people: parts of the capture that the others know of and that are not here. */
    readonly missing: readonly string[],
  ) {}

  /** Reads nothing but the names, what the metas say, and the first bytes of files. Rejects with `TrafficInputError`. */
  static async open(options: TrafficReaderOptions): Promise<TrafficReader> {
    const input = await openInput(options.input, options.store);
    try {
      const listed = await input.list().catch((error: NodeJS.ErrnoException) => {
        throw error.code === 'ENOENT' ? new TrafficInputError(`there is no ${input.name}`) : error;
      });
      const reader = await TrafficReader.#find(input, options, listed);
      for (const source of reader.sources) await reader.#check(source);
      return reader;
    } catch (error) {
      await input.close();
      throw error;
    }
  }

  static async #find(input: TrafficInput, options: TrafficReaderOptions, listed: readonly InputFile[]): Promise<TrafficReader> {
    const { sources, idle } = await findSources(input, listed, options.onWarning);
    const parts = [...sources, ...idle].flatMap(({ meta }) => parsePart(meta?.Binnacle?.part) ?? []);
    const jobs = [...new Set(parts.map(({ job }) => job))];
    if (jobs.length > 1) throw new TrafficInputError(`${input.name} holds parts of different captures: ${jobs.slice(0, namesShownMax).join(', ')}`);
    return new TrafficReader(input, options, sources, missingParts(parts));
  }

  /** How many records there are, as far as the metas say it. Undefined: not said. */
  get commands(): number | undefined {
    const counts = this.sources.map(({ meta }) => meta?.Cmds || undefined);
    return counts.every((count) => count !== undefined) ? counts.reduce((sum, count) => sum + count, 0) : undefined;
  }

  /** When the captures began, in microseconds since 1970. Undefined: not said; TiProxy does not. */
  get fromUs(): number | undefined {
    const times = this.sources.flatMap(({ meta }) => meta?.Binnacle?.fromUs ?? []);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** What came of the commands is there; a process whose commands were never answered has none. */
  get hasResults(): boolean {
    return this.sources.some(({ resultFiles }) => resultFiles.length > 0);
  }

  /** By time; of one connection always in the order of its file. Rejects with `TrafficFileError` or `TrafficInputError`. */
  records(): AsyncGenerator<ReadRecord> {
    return merged(this.sources.map((source, index) => this.#recordBatches(source, index)), ({ timeUs }) => timeUs);
  }

  /** What came of the commands, by the time of the responses' ends; to be joined by `source`, `connectionId` and `ordinal`. */
  results(): AsyncGenerator<TimedResult> {
    return merged(this.sources.map((source, index) => this.#resultBatches(source, index)), ({ endTimeUs }) => endTimeUs);
  }

  async close(): Promise<void> {
    await this.input.close();
  }

  async *#recordBatches({ files }: TrafficSource, source: number): AsyncGenerator<ReadRecord[]> {
    const { payloadBytesMax, onDamage } = this.options;
    for (const file of files) {
      const limits = payloadBytesMax === undefined ? {} : { payloadBytesMax };
      yield* this.#batches(file, new RecordDecoder({ file: file.path, source, ...limits, ...(onDamage ? { onDamage } : {}) }));
    }
  }

  async *#resultBatches({ resultFiles }: TrafficSource, source: number): AsyncGenerator<TimedResult[]> {
    for (const file of resultFiles) yield* this.#batches(file, new ResultDecoder(file.path, source));
  }

  async *#batches<T>(file: InputFile, decoder: { write(chunk: Buffer): void; next(): T | undefined; end(): number }): AsyncGenerator<T[]> {
    const stream = await this.#open(file);
    let plainBytes = 0;
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        decoder.write(chunk);
        plainBytes += chunk.length;
        const batch: T[] = [];
        for (let item = decoder.next(); item !== undefined; item = decoder.next()) batch.push(item);
        yield batch;
      }
    } catch (error) {
      const damage = error instanceof TrafficFileError ? error : damageOf(file, plainBytes, error);
      if (damage === undefined || error instanceof TrafficFileError || !this.options.onDamage) throw damage ?? error;
      this.options.onDamage(damage);
      return;
    } finally {
      stream.destroy();
    }
    const cutBytes = decoder.end();
    if (cutBytes > 0) this.options.onWarning?.(`${file.path} ends in the middle of a line or record: its last ${cutBytes} bytes are left out`);
  }

  async #open(file: InputFile): Promise<Readable> {
    const raw = this.input.read(file);
    const through = readingStreams(await this.#layers(file));
    // Errors come out of the last one.
    return through.length === 0 ? raw : (pipeline([raw, ...through], () => {}) as unknown as Readable);
  }

  async #layers(file: InputFile): Promise<Layers> {
    const found = findLayers(await this.input.head(file, headBytes), this.options.key);
    if (typeof found === 'object') return found;
    if (found === 'key-does-not-fit') throw new TrafficInputError(`the key does not fit: ${file.path} in ${this.input.name}, or it is no traffic file`);
    if (found === 'key-needed') throw new TrafficInputError(`${file.path} in ${this.input.name} is encrypted: a key is needed`);
    throw new TrafficInputError(`${file.path} in ${this.input.name} is no traffic file, or it is encrypted and a key is needed`);
  }

  async #check({ meta, files, resultFiles, name }: TrafficSource): Promise<void> {
    if (meta !== undefined && encryptedBy(meta, name) && this.options.key === undefined) {
      throw new TrafficInputError(`the traffic in ${this.input.name} is encrypted (${meta.EncryptMethod}): a key is needed`);
    }
    for (const file of [files[0], resultFiles[0]]) if (file !== undefined) await this.#layers(file);
  }
}

function encryptedBy(meta: TrafficMeta, name: string): boolean {
  try {
    return isEncrypted(meta);
  } catch (error) {
    throw new TrafficInputError(`${joined(name, metaName)}: ${(error as Error).message}`);
  }
}

/** Undefined: it is not the file's fault. */
function damageOf(file: InputFile, plainBytes: number, error: unknown): TrafficFileError | undefined {
  const { code = '', message } = error as NodeJS.ErrnoException;
  return code.startsWith('Z_') ? new TrafficFileError(file.path, plainBytes, `the compressed file is damaged behind here (${message})`, { cause: error }) : undefined;
}

interface FoundSources {
  readonly sources: readonly TrafficSource[];
  /** Parts whose sessions did nothing: they have no records. */
  readonly idle: readonly TrafficSource[];
}

async function findSources(input: TrafficInput, listed: readonly InputFile[], onWarning: TrafficReaderOptions['onWarning']): Promise<FoundSources> {
  const folders = new Map<string, InputFile[]>();
  for (const file of listed) {
    const folder = file.path.slice(0, Math.max(0, file.path.indexOf('/')));
    const files = folders.get(folder) ?? [];
    files.push(file);
    folders.set(folder, files);
  }
  const named = [...folders].filter(([, files]) => files.some((file) => isOf('traffic', file))).sort(([a], [b]) => (a < b ? -1 : 1));
  if (named.length === 0) throw new TrafficInputError(`there are no traffic files in ${input.name}: ${whatThereIs(listed)}`);
  const isItself = named[0]?.[0] === '';
  if (isItself && named.length > 1) onWarning?.(`the folders in ${input.name} are not read, because there are traffic files beside them`);
  const idle = isItself ? [] : [...folders].filter(([, files]) => !files.some((file) => isOf('traffic', file)) && files.some((file) => baseName(file) === metaName));
  const sourcesOf = (some: typeof named): Promise<TrafficSource[]> => Promise.all(some.map(([name, files]) => sourceOf(input, name, files, onWarning)));
  return { sources: await sourcesOf(isItself ? named.slice(0, 1) : named), idle: await sourcesOf(idle) };
}

async function sourceOf(input: TrafficInput, name: string, listed: readonly InputFile[], onWarning: TrafficReaderOptions['onWarning']): Promise<TrafficSource> {
  const stranger = listed.find((file) => /^(traffic|results)/.test(baseName(file)) && namedFile(baseName(file)) === undefined);
  if (stranger !== undefined) onWarning?.(`${stranger.path} is not read: it has no name of a traffic file`);
  const ordered = (prefix: FilePrefix): InputFile[] =>
    listed.filter((file) => isOf(prefix, file)).sort((a, b) => compareFiles(nameOf(a), nameOf(b)));
  let meta: TrafficMeta | undefined;
  if (listed.some((file) => baseName(file) === metaName)) {
    try {
      meta = parseMeta(await input.text(joined(name, metaName)));
    } catch (error) {
      onWarning?.(`${joined(name, metaName)} cannot be read: ${(error as Error).message}`);
    }
  }
  if (meta?.Binnacle?.complete === false) {
    const { state, reason = state } = meta.Binnacle;
    const why = state === 'running' ? 'it is still running, or its process was killed' : reason;
    onWarning?.(`the capture in ${joined(input.name, name)} is not complete: ${why}`);
  }
  return {
    name,
    ...(meta === undefined ? {} : { meta }),
    isComplete: meta?.Binnacle?.complete ?? meta !== undefined,
    files: await withoutTwins(input, ordered('traffic')),
    resultFiles: ordered('results'),
  };
}

/** Binnacle's files have a second, counted name for v1.4. A copy of the folder has two files: they begin alike, which no two others do. */
async function withoutTwins(input: TrafficInput, files: readonly InputFile[]): Promise<InputFile[]> {
  const timed = files.filter((file) => nameOf(file).scheme === 'time');
  const kept: InputFile[] = [];
  for (const file of files) {
    const isTwin = nameOf(file).scheme === 'number' && (await isAnyAsync(timed, async (other) => {
      if (other.bytes !== file.bytes) return false;
      const [head, otherHead] = await Promise.all([input.head(file, headBytes), input.head(other, headBytes)]);
      return head.equals(otherHead);
    }));
    if (!isTwin) kept.push(file);
  }
  return kept;
}

async function isAnyAsync<T>(items: readonly T[], is: (item: T) => Promise<boolean>): Promise<boolean> {
  for (const item of items) if (await is(item)) return true;
  return false;
}

function whatThereIs(listed: readonly InputFile[]): string {
  if (listed.length === 0) return 'it is empty';
  const shown = listed.slice(0, namesShownMax).map(({ path }) => path);
  return `it holds ${shown.join(', ')}${listed.length > namesShownMax ? ` and ${listed.length - namesShownMax} more` : ''}`;
}

function baseName({ path }: InputFile): string {
  return path.slice(path.indexOf('/') + 1);
}

function nameOf(file: InputFile): NamedFile {
  return namedFile(baseName(file)) as NamedFile;
}

function isOf(prefix: FilePrefix, file: InputFile): boolean {
  return namedFile(baseName(file))?.prefix === prefix;
}

function joined(folder: string, name: string): string {
  return folder === '' ? name : name === '' ? folder : `${folder}/${name}`;
}
