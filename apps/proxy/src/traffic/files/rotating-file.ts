import { createWriteStream } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { type FilePrefix, NameTimes, partSuffix } from './file-names.js';
import { type Layers, writingStreams } from './layers.js';
import type { TrafficDestination } from './traffic-destination.js';

export interface RotatingFileOptions {
  readonly prefix: FilePrefix;
  readonly layers: Layers;
  readonly destination: TrafficDestination;
  /** Of plain bytes; a larger chunk has a file of its own. */
  readonly fileBytesMax: number;
  /** Of plain bytes that wait to be written. */
  readonly queueBytesMax: number;
  /** Every file begins with it. */
  readonly header?: Buffer;
  readonly nowMs: () => number;
  readonly onFailure: (error: Error) => void;
}

/** Files of one kind, one after the other. Chunks are never split. Nobody waits for the disk: who brings more than it takes is refused, for ever. */
export class RotatingFile {
  readonly #queue: Buffer[] = [];
  readonly #times = new NameTimes();
  #queuedBytes = 0;
  #part: Part | undefined;
  #published = 0;
  #failure: Error | undefined;
  /** Nothing that is queued can be written any more. */
  #isBroken = false;
  #draining: Promise<void> | undefined;
  bytes = 0;

  constructor(private readonly options: RotatingFileOptions) {}

  /** False: it is not taken, and no other will be. */
  write(chunk: Buffer): boolean {
    if (this.#failure !== undefined) return false;
    if (this.#queuedBytes + chunk.length > this.options.queueBytesMax) {
      this.#fail(new Error(`writing to ${this.options.destination.name} is too slow: ${this.#queuedBytes} bytes wait for it`));
      return false;
    }
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
    this.bytes += chunk.length;
    this.#draining ??= this.#drain();
    return true;
  }

  /** Writes what was taken and publishes the last file. What went wrong has been said to `onFailure`. */
  async close(): Promise<void> {
    await this.#draining;
    if (this.#isBroken) {
      // What there is of it stays readable under its name.
      await this.#part?.abandon();
      return;
    }
    await this.#publish().catch((error: unknown) => this.#break(error as Error));
  }

  async #drain(): Promise<void> {
    try {
      for (let chunk = this.#queue[0]; chunk !== undefined; chunk = this.#queue[0]) {
        if (this.#part !== undefined && this.#part.bytes + chunk.length > this.options.fileBytesMax) await this.#publish();
        this.#part ??= await this.#open();
        await this.#part.write(chunk);
        this.#queue.shift();
        this.#queuedBytes -= chunk.length;
      }
    } catch (error) {
      this.#break(error as Error);
    } finally {
      this.#draining = undefined;
    }
  }

  async #open(): Promise<Part> {
    const { destination, layers, header, prefix, nowMs } = this.options;
    const part = new Part(join(destination.partFolder, this.#name(this.#times.next(nowMs()), prefix)), layers);
    if (header !== undefined) await part.write(header);
    return part;
  }

  /** Under the time of its end, as TiProxy does, which leaves out files that end before what it is to replay. */
  async #publish(): Promise<void> {
    const part = this.#part;
    if (part === undefined) return;
    await part.end();
    this.#part = undefined;
    const { destination, prefix, nowMs } = this.options;
    const name = this.#name(this.#times.next(nowMs()), prefix);
    await rename(part.path, join(destination.partFolder, name + partSuffix));
    this.#published++;
    await destination.publish(name, prefix === 'traffic' ? this.#name(String(this.#published), prefix) : undefined);
  }

  #name(middle: string, prefix: FilePrefix): string {
    return `${prefix}-${middle}.log${this.options.layers.isCompressed ? '.gz' : ''}`;
  }

  #break(error: Error): void {
    this.#isBroken = true;
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#fail(error);
  }

  #fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.options.onFailure(error);
  }
}

/** A file that is being written. */
class Part {
  readonly path: string;
  readonly #head: Writable;
  readonly #done: Promise<void>;
  bytes = 0;

  constructor(path: string, layers: Layers) {
    this.path = path + partSuffix;
    const file = createWriteStream(this.path, { flags: 'wx', mode: 0o600, flush: true });
    const through = writingStreams(layers);
    this.#head = through[0] ?? file;
    this.#done = through.length === 0 ? finished(file) : pipeline([...through, file]);
    // Whoever writes next hears of it.
    this.#done.catch(() => {});
  }

  /** Resolves when it may have the next. */
  async write(chunk: Buffer): Promise<void> {
    this.bytes += chunk.length;
    const taken = new Promise<void>((resolve, reject) => this.#head.write(chunk, (error) => (error ? reject(error) : resolve())));
    // A stream that ends before its turn never calls back.
    await Promise.race([taken, this.#done]);
  }

  async end(): Promise<void> {
    this.#head.end();
    await this.#done;
  }

  async abandon(): Promise<void> {
    this.#head.destroy();
    await this.#done.catch(() => {});
  }
}
