import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { dataFrame, type FailureAnswer, type Frame, framesOf, jsonFrameOf, type ParseAnswer, type PlanAnswer, type QueryFailure, type QueryRequest, type RunAnswer } from './query-messages.js';

/** What went wrong in the process that runs queries. The message may name files of this machine. */
export class QueryError extends Error {
  override readonly name = 'QueryError';

  constructor(
    readonly failure: QueryFailure,
    message: string,
  ) {
    super(message);
  }
}

/** A result on its way: the columns are known, rows come as they are read. */
export interface RunningResult {
  readonly columns: RunAnswer['columns'];
  /** Ends with the number of rows. Throws `QueryError`. Nothing is read ahead of whoever reads this, but for what fits into a pipe. */
  readonly data: AsyncGenerator<Buffer, RunAnswer>;
}

/** From `src`, which tests run, as from `dist`, this is the built file. */
const program = fileURLToPath(new URL('../../dist/compute/query.process.js', import.meta.url));
/** Of the data segment: 640 that Node.js sets aside, of which it uses 100, and 384 for what DuckDB allocates without counting it. In megabytes of 2^20 bytes. */
const uncountedMegabytes = 1_024;
const stderrBytesMax = 4_096;

/** A process that runs queries, one at a time. Whatever goes wrong with one, ending it is enough. */
export class QueryProcess {
  readonly #child: ChildProcess;
  readonly #frames: AsyncGenerator<Frame>;
  #stderr = '';
  #isEnded = false;
  /** Of the last `open`. */
  opened: Promise<void> = Promise.resolve();

  constructor(memoryMegabytes: number) {
    const kibibytes = (memoryMegabytes + uncountedMegabytes) * 1_024;
    // The limit of the data segment counts what is really taken; that of the address space would count what V8 only sets aside.
    this.#child = spawn('/bin/sh', ['-c', `ulimit -d ${kibibytes}; exec "$0" "$@"`, process.execPath, '--max-old-space-size=128', program], {
      stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
      // Of the environment it needs nothing, and of the node's secrets there may be some in it.
      env: { TZ: 'UTC', PATH: process.env['PATH'] ?? '' },
      execArgv: [],
    } as never);
    this.#frames = framesOf(this.#child.stdout as Readable);
    this.#child.stderr?.on('data', (bytes: Buffer) => (this.#stderr = (this.#stderr + bytes.toString()).slice(-stderrBytesMax)));
    this.#child.once('exit', () => (this.#isEnded = true));
    this.#child.on('error', () => (this.#isEnded = true));
    // A broken pipe is told by the end of the other one.
    this.#child.stdin?.on('error', () => undefined);
    this.#child.unref();
    this.#child.channel?.unref();
  }

  pid(): number | undefined {
    return this.#child.pid;
  }

  isEnded(): boolean {
    return this.#isEnded;
  }

  async open(memoryMegabytes: number, threads: number): Promise<void> {
    await this.#ask({ op: 'open', memoryMegabytes, threads });
  }

  async parse(sql: string): Promise<ParseAnswer> {
    return (await this.#ask({ op: 'parse', sql })) as ParseAnswer;
  }

  async prepare(statements: readonly string[], paths: readonly string[]): Promise<void> {
    await this.#ask({ op: 'prepare', statements, paths });
  }

  async plan(sql: readonly string[]): Promise<PlanAnswer> {
    return (await this.#ask({ op: 'plan', sql })) as PlanAnswer;
  }

  async run(request: Omit<Extract<QueryRequest, { op: 'run' }>, 'op'>): Promise<RunningResult> {
    this.#send({ op: 'run', ...request });
    const first = await this.#next();
    if (first.kind !== dataFrame) throw failureIn(first);
    return { columns: JSON.parse(first.bytes.toString()) as RunAnswer['columns'], data: this.#data() };
  }

  /** Whatever it does, it does no more. */
  kill(): void {
    this.#isEnded = true;
    this.#child.kill('SIGKILL');
  }

  async *#data(): AsyncGenerator<Buffer, RunAnswer> {
    for (;;) {
      const next = await this.#next();
      if (next.kind === dataFrame) {
        yield next.bytes;
        continue;
      }
      const answer = JSON.parse(next.bytes.toString()) as RunAnswer | FailureAnswer;
      if ('failure' in answer) throw failureIn(next);
      return answer;
    }
  }

  async #ask(request: QueryRequest): Promise<unknown> {
    this.#send(request);
    const answer = await this.#next();
    const value = JSON.parse(answer.bytes.toString()) as object;
    if ('failure' in value) throw failureIn(answer);
    return value;
  }

  #send(request: QueryRequest): void {
    this.#child.stdin?.write(jsonFrameOf(request));
  }

  async #next(): Promise<Frame> {
    const { value, done } = await this.#frames.next();
    if (done !== true) return value;
    this.#isEnded = true;
    // Out of memory shows as an exception nobody could catch, or as a signal.
    if (/bad_alloc|out of memory|allocation fail/i.test(this.#stderr) || this.#child.signalCode !== null) {
      throw new QueryError('memory', 'The query needs more memory than it may have: let it look at less, or raise storage.sql-memory-megabytes-max.');
    }
    throw new QueryError('internal', `the process that runs queries ended: ${this.#stderr}`);
  }
}

function failureIn({ bytes }: Frame): QueryError {
  const { failure, message } = JSON.parse(bytes.toString()) as FailureAnswer;
  return new QueryError(failure, message);
}
