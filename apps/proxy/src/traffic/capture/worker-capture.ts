import type { Clock } from '@binnacle/cluster-state/clock';
import { buildInfo } from '@binnacle/node-kit/build-info';
import type { Logger } from 'pino';
import type { Session } from '../../session/session.js';
import { readKeyFile } from '../files/encryption-key.js';
import { TrafficWriter } from '../files/traffic-writer.js';
import { CaptureLog } from './capture-log.js';
import type { CaptureEnd, CaptureOrder, CaptureProgress } from './capture-order.js';
import { CaptureTap } from './capture-tap.js';
import { askServer, needsServer } from './session-origin.js';
import { TrafficBuffer } from './traffic-buffer.js';

export interface WorkerCaptureParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** Those that are there now. */
  sessions(): Iterable<Session>;
  /** As one of the backends greets; empty: not known. */
  serverVersion(): string;
}

/** Of records and of results each, that wait for the disk. */
const queueBytesMax = 67_108_864;
/** What is captured is on its way to the disk after this, however little it is. */
const flushMs = 500;
/** Sessions of whose servers something is asked, at a time; each is held for some round trips. */
const asksAtATime = 8;
const holdMsMax = 2_000;
const answerMsMax = 2_000;
/** A session that was too busy to be held is tried again. */
const askAgainMs = 1_000;
const timesAskedMax = 3;

/** One capture, as far as one worker has a part in it: its sessions' taps, their buffer, and the files. */
export class WorkerCapture {
  readonly #buffer: TrafficBuffer;
  readonly #captureLog: CaptureLog;
  #state: CaptureProgress['state'] = 'running';
  #error = '';
  #ended: Promise<void> | undefined;
  #isOver = false;
  #writer!: TrafficWriter;
  #cancelFlush = (): void => {};
  #cancelAsking = (): void => {};
  #asking = 0;
  readonly #toAsk: CaptureTap[] = [];

  private constructor(
    private readonly parts: WorkerCaptureParts,
    private readonly order: CaptureOrder,
  ) {
    const sink = {
      writeRecords: (chunk: Buffer, records: number) => this.#writer.writeRecords(chunk, records),
      writeResults: (chunk: Buffer, results: number) => this.#writer.writeResults(chunk, results),
    };
    this.#buffer = new TrafficBuffer(sink, () => this.#fail(this.#writer.failure ?? new Error('the files take nothing more')));
    this.#captureLog = new CaptureLog(this.#buffer, parts.clock.nowMs() - performance.now());
  }

  /** Rejects with an Error that says what is wrong with the output or the key. */
  static async start(order: CaptureOrder, parts: WorkerCaptureParts): Promise<WorkerCapture> {
    const capture = new WorkerCapture(parts, order);
    await capture.#open();
    return capture;
  }

  async #open(): Promise<void> {
    const { order, parts } = this;
    const key = order.encryptMethod === '' ? undefined : await readKeyFile(order.keyFile);
    const serverVersion = parts.serverVersion();
    this.#writer = await TrafficWriter.open({
      output: order.output,
      store: order.store,
      temporaryFolder: order.temporaryFolder,
      layers: { isCompressed: order.compress, order: order.layers, ...(key !== undefined && { key }) },
      version: buildInfo.version,
      ...(serverVersion !== '' && { serverVersion }),
      part: { job: order.job, node: order.node, nodes: order.nodes, worker: order.worker, workers: order.workers },
      nowMs: () => parts.clock.nowMs(),
      onFailure: (error) => this.#fail(error),
      onWarning: (message) => parts.log.warn({ job: order.job }, message),
      queueBytesMax,
    });
    for (const session of parts.sessions()) this.#tap(session, false);
    this.#flushLater();
    this.#askSome();
  }

  /** A session that begins now. */
  opened(session: Session): void {
    if (this.#state === 'running' && this.#ended === undefined) this.#tap(session, true);
  }

  #tap(session: Session, opened: boolean): void {
    const tap = new CaptureTap(session, this.#captureLog, opened, !opened && needsServer(session));
    session.witness.tap = tap;
    if (tap.waits) this.#toAsk.push(tap);
  }

  /** Its files are complete, or never will be. */
  get isOver(): boolean {
    return this.#isOver;
  }

  get progress(): CaptureProgress {
    let waiting = 0;
    for (const { witness } of this.parts.sessions()) if (witness.tap?.begun === false && !witness.tap.opened) waiting++;
    const { commands, results, bytes, bufferedBytes } = this.#buffer;
    const { sessions, leftOut, incomplete } = this.#captureLog;
    return { state: this.#state, error: this.#error, commands, results, bytes, buffered: bufferedBytes, sessions, waiting, leftOut, incomplete };
  }

  /** Writes everything, and says how it ended; the same answer again where it has ended already. Never rejects. */
  async stop({ state, reason }: CaptureEnd): Promise<CaptureProgress> {
    this.#ended ??= this.#end({ state, reason });
    await this.#ended;
    return this.progress;
  }

  async #end({ state, reason }: CaptureEnd): Promise<void> {
    this.#letGo();
    this.#buffer.flush();
    const { leftOut, incomplete, sessions } = this.#captureLog;
    try {
      await this.#writer.close({ state, ...(reason !== '' && { reason }), leftOut, incomplete, sessions });
      if (this.#state !== 'running') return;
      this.#state = state;
      this.#error = reason;
    } catch (error) {
      this.#failed(error as Error);
    } finally {
      this.#isOver = true;
    }
  }

  /** The traffic goes on without it. */
  #fail(error: Error): void {
    this.#failed(error);
    // Not from within a session's call.
    this.#ended ??= Promise.resolve().then(() => this.#end({ state: 'failed', reason: this.#error }));
  }

  #failed(error: Error): void {
    if (this.#state === 'failed') return;
    this.#state = 'failed';
    this.#error = error.message;
    this.parts.log.error({ err: error, job: this.order.job }, 'the capture of traffic ends: sessions go on');
  }

  #letGo(): void {
    this.#cancelFlush();
    this.#cancelAsking();
    this.#toAsk.length = 0;
    for (const { witness } of this.parts.sessions()) witness.tap?.end();
  }

  #flushLater(): void {
    this.#cancelFlush = this.parts.clock.after(flushMs, () => {
      this.#buffer.flush();
      if (this.#ended === undefined) this.#flushLater();
    });
  }

  // ---- Sessions that have something of which only their servers know.

  #askSome(): void {
    while (this.#asking < asksAtATime && this.#toAsk.length > 0 && this.#ended === undefined) {
      this.#asking++;
      void this.#ask(this.#toAsk.shift()!).finally(() => {
        this.#asking--;
        this.#askSome();
      });
    }
  }

  /** Never rejects. */
  async #ask(tap: CaptureTap): Promise<void> {
    const { session } = tap;
    const isOver = (): boolean => session.phase === 'closing' || session.witness.tap !== tap || !tap.waits;
    if (isOver()) return;
    try {
      await session.hold(holdMsMax, () => tap.isAtRest(0) && session.state.diagnostics.none);
    } catch {
      if (!isOver()) this.#askAgain(tap);
      return;
    }
    try {
      const servers = await askServer(session, answerMsMax);
      if (!isOver()) tap.begin(servers);
    } catch (error) {
      this.parts.log.debug({ err: error, session: session.id }, 'what only the server of a session knows is not captured');
      if (!isOver()) tap.begin(undefined);
    } finally {
      session.resume();
    }
  }

  /** Some are never without row counts that asking would end: they begin without. */
  #askAgain(tap: CaptureTap): void {
    if (tap.isAtRest(0) && ++tap.timesAsked === timesAskedMax) {
      tap.waits = false;
      return;
    }
    this.#toAsk.push(tap);
    this.#cancelAsking();
    this.#cancelAsking = this.parts.clock.after(askAgainMs, () => this.#askSome());
  }
}
