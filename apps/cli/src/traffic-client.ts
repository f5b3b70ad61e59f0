import { setTimeout as pause } from 'node:timers/promises';

/** What `GET /api/traffic/show` says of a job, as far as command lines look at it. */
export interface ShownJob {
  readonly id: string;
  readonly type: 'capture' | 'replay';
  readonly state: 'running' | 'done' | 'failed' | 'canceled';
  readonly progress: string;
  readonly error?: string;
  readonly notes?: readonly string[];
  readonly commands: number;
  readonly leftOut?: Readonly<Record<string, number>>;
  readonly incomplete?: Readonly<Record<string, number>>;
  readonly bytes?: number;
  readonly sessions?: number;
  readonly parts?: Readonly<Record<string, string>>;
  readonly sent?: number;
  readonly skipped?: number;
  readonly failed?: number;
  readonly different?: number;
  readonly lagMs?: number;
  readonly verdict?: 'PASS' | 'FAIL';
  readonly verdictLine?: string;
}

/** It refused, or could not be asked; the message is for people. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
}

const requestTimeoutMs = 120_000;
const followEveryMs = 1_000;
/** A gateway that restarts comes back within this. */
const silentMsMax = 60_000;

/** The HTTP API of a gateway or a proxy node. */
export class TrafficClient {
  constructor(
    private readonly url: string,
    private readonly apiKey: string,
  ) {
    if (!/^https?:\/\/[^\s/?#@]+\/?$/.test(url)) throw new ApiError(`--url is an address such as http://127.0.0.1:8080, not ${url}`);
  }

  async start(type: ShownJob['type'], fields: Readonly<Record<string, string>>): Promise<ShownJob> {
    return JSON.parse(await this.#ask('POST', `/api/traffic/${type}`, fields)) as ShownJob;
  }

  async jobs(): Promise<readonly ShownJob[]> {
    return JSON.parse(await this.#ask('GET', '/api/traffic/show')) as ShownJob[];
  }

  cancel(type: ShownJob['type'] | undefined): Promise<string> {
    return this.#ask('POST', '/api/traffic/cancel', type === undefined ? {} : { type });
  }

  /** As JSON. */
  report(job: string | undefined): Promise<string> {
    return this.#ask('GET', `/api/traffic/report?format=json${job === undefined ? '' : `&job=${encodeURIComponent(job)}`}`);
  }

  /** Until it has ended, however it did; `changed` hears of it every second. Rejects when nobody answers for a minute. */
  async follow(id: string, changed: (job: ShownJob) => void): Promise<ShownJob> {
    let silentSinceMs: number | undefined;
    for (;;) {
      try {
        const job = (await this.jobs()).find((each) => each.id === id);
        if (job === undefined) throw new ApiError(`${id} is not in the list of jobs any more`);
        if (job.state !== 'running') return job;
        changed(job);
        silentSinceMs = undefined;
      } catch (error) {
        silentSinceMs ??= performance.now();
        if (performance.now() - silentSinceMs > silentMsMax) throw error;
      }
      await pause(followEveryMs);
    }
  }

  async #ask(method: 'GET' | 'POST', path: string, fields?: Readonly<Record<string, string>>): Promise<string> {
    let answer: Response;
    try {
      answer = await fetch(new URL(path, this.url), {
        method,
        headers: { accept: 'application/json', ...(this.apiKey !== '' && { authorization: `Bearer ${this.apiKey}` }) },
        ...(fields !== undefined && { body: new URLSearchParams(fields) }),
        signal: AbortSignal.timeout(requestTimeoutMs),
      });
    } catch (error) {
      const { cause, message } = error as Error & { cause?: { code?: string; message?: string } };
      throw new ApiError(`${this.url} does not answer: ${cause?.code ?? cause?.message ?? message}`);
    }
    const text = await answer.text();
    if (answer.status !== 200) throw new ApiError(messageOf(text));
    return text;
  }
}

/** Texts come as they are from the proxy, and as JSON from the gateway. */
function messageOf(text: string): string {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === 'string' ? body : ((body as { error?: { message?: string } }).error?.message ?? text);
  } catch {
    return text;
  }
}
