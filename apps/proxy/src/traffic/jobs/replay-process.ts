import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Clock } from '@binnacle/cluster-state/clock';
import type { ExplainOrder } from '../plans/explain-capture.js';
import type { ReplayOrder, ReplayProgress } from '../replay/replay-order.js';
import type { TrafficFacts } from '../report/traffic-report.js';
import type { FromReplay, ToReplay } from './replay-protocol.js';

/** It runs from what was built, also where this file runs from its source. */
const entry = fileURLToPath(new URL('../../../dist/traffic/jobs/replay-child.js', import.meta.url));

/**
 * The whole process stays under 500 MB: some 60 MB of code, 320 MB of old objects, 3 x 8 MB of young ones, and what is outside the heap: chunks
 * of files and responses.
 */
const execArgv = ['--enable-source-maps', '--max-old-space-size=320', '--max-semi-space-size=8'];

/** After a cancel: statements that run are waited for no longer than this. */
const graceMs = 30_000;
/** What it says last before it dies; heap reports of V8 are about so long. */
const errorCharactersMax = 4_000;

export interface ReplayListener {
  progress(progress: ReplayProgress): void;
  /** What is odd about the files; a few at most. */
  warning(text: string): void;
}

/** A replay in a process of its own. */
export class ReplayProcess {
  readonly #child: ChildProcess;
  /** Rejects with an Error that says, for people, why it could not be done. */
  readonly facts: Promise<TrafficFacts>;
  #cancelKill = (): void => {};
  #reason = '';

  constructor(
    order: ReplayOrder,
    private readonly clock: Clock,
    heard: ReplayListener,
  ) {
    const { child, answer } = startProcess({ kind: 'replay', order }, heard);
    this.#child = child;
    this.facts = answer.then(
      (message) => {
        if (message.kind !== 'facts') throw new Error('the replay ended without a report');
        return message.facts;
      },
      (cause: Error) => {
        throw this.#reason === '' ? cause : new Error(this.#reason, { cause });
      },
    );
    void this.facts.catch(() => undefined).finally(() => this.#cancelKill());
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** What was sent is waited for; there are facts, which say that it was cut off. */
  cancel(reason: string): void {
    say(this.#child, { kind: 'cancel', reason });
    this.#cancelKill();
    this.#cancelKill = this.clock.after(graceMs, () => this.kill(`${reason}, and statements did not end within ${graceMs / 1_000} s`));
  }

  kill(reason: string): void {
    this.#reason = reason;
    this.#child.kill('SIGKILL');
  }
}

/** The plans of a capture, written beside it by a process of its own. Gives their number. Rejects with an Error for people; at the deadline the process is killed. */
export async function explainInProcess(order: ExplainOrder, clock: Clock, deadlineMs: number): Promise<number> {
  const { child, answer } = startProcess({ kind: 'explain', order }, { progress: () => {}, warning: () => {} });
  const cancelKill = clock.after(deadlineMs, () => child.kill('SIGKILL'));
  try {
    const message = await answer;
    return message.kind === 'explained' ? message.plans : 0;
  } finally {
    cancelKill();
  }
}

type Answer = Extract<FromReplay, { kind: 'facts' | 'explained' }>;

function startProcess(order: Exclude<ToReplay, { kind: 'cancel' }>, heard: ReplayListener): { child: ChildProcess; answer: Promise<Answer> } {
  const child = fork(entry, [], { execArgv, serialization: 'advanced', stdio: ['ignore', 'ignore', 'pipe', 'ipc'], env: withoutOptions(process.env) });
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-errorCharactersMax)));
  const answer = new Promise<Answer>((resolve, reject) => {
    child.on('message', (message: FromReplay) => {
      if (message.kind === 'ready') say(child, order);
      else if (message.kind === 'progress') heard.progress(message.progress);
      else if (message.kind === 'warning') heard.warning(message.text);
      else if (message.kind === 'failed') reject(new Error(message.error));
      else resolve(message);
    });
    child.once('error', (error) => reject(new Error(`the process for it could not be started: ${error.message}`)));
    // `close` comes after the last message, `exit` may not.
    child.once('close', (code, signal) => reject(new Error(deathOf(code, signal, errors))));
  });
  return { child, answer };
}

function say(child: ChildProcess, message: ToReplay): void {
  // The callback keeps a channel that has just broken from being an error of the whole process; `close` tells of it.
  if (child.connected) child.send(message, undefined, undefined, () => {});
}

/** Options of the node (a preloaded module, a heap limit) are not those of its child. */
function withoutOptions(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => name !== 'NODE_OPTIONS' && name !== 'LD_PRELOAD'));
}

function deathOf(code: number | null, signal: NodeJS.Signals | null, errors: string): string {
  const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
  const why = errors.includes('heap out of memory') ? ': it needed more memory than it may have' : '';
  return `the process for it died (${how})${why}`;
}
