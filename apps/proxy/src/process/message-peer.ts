import type { Clock } from '@binnacle/cluster-state/clock';

/** What can be asked: name → question and answer, both plain data. */
export type Questions<Asked> = { [Kind in keyof Asked]: { ask: unknown; answer: unknown } };

type Message =
  | { readonly type: 'tell'; readonly body: unknown }
  | { readonly type: 'ask'; readonly number: number; readonly kind: string; readonly body: unknown }
  | { readonly type: 'answer'; readonly number: number; readonly body: unknown }
  | { readonly type: 'failure'; readonly number: number; readonly text: string; readonly facts: Facts };

/** Of the system's errors: what was tried where. */
type Facts = Partial<Record<'code' | 'host' | 'port' | 'problems', unknown>>;

export interface PeerHandlers {
  told(body: unknown): void;
  asked(kind: string, body: unknown): Promise<unknown>;
}

/** The other process has gone, or did not answer in time. */
export class PeerError extends Error {
  override readonly name = 'PeerError';
}

/** Questions that wait for an answer; one more is refused: whoever asks that fast has lost count. */
const questionsMax = 10_000;

/** One end of a channel between two processes, over which both tell and ask. */
export class MessagePeer<Asked extends Questions<Asked>> {
  readonly #waiting = new Map<number, { resolve: (answer: unknown) => void; reject: (error: Error) => void; cancel: () => void }>();
  #lastNumber = 0;
  #closed = false;

  /** `send` may lose messages once the other end has gone: `close` then ends what waits. */
  constructor(
    private readonly send: (message: Message) => void,
    private readonly handlers: PeerHandlers,
    private readonly clock: Clock,
  ) {}

  tell(body: unknown): void {
    if (!this.#closed) this.send({ type: 'tell', body });
  }

  /** Rejects with `PeerError` at the deadline and when the other end goes, and with an error of the same message where the other end failed. */
  ask<Kind extends keyof Asked & string>(kind: Kind, body: Asked[Kind]['ask'], deadlineMs: number): Promise<Asked[Kind]['answer']> {
    if (this.#closed) return Promise.reject(new PeerError('the other process has gone'));
    if (this.#waiting.size >= questionsMax) return Promise.reject(new PeerError(`${questionsMax} questions wait already`));
    const number = ++this.#lastNumber;
    return new Promise((resolve, reject) => {
      const cancel = this.clock.after(deadlineMs, () => {
        this.#waiting.delete(number);
        reject(new PeerError(`no answer to "${kind}" within ${deadlineMs} ms`));
      });
      this.#waiting.set(number, { resolve, reject, cancel });
      this.send({ type: 'ask', number, kind, body });
    });
  }

  /** Give it everything that comes in. What is no message of a peer is left alone: node:cluster talks over the same channel. */
  received(raw: unknown): void {
    if (this.#closed || typeof raw !== 'object' || raw === null) return;
    const message = raw as Message;
    switch (message.type) {
      case 'tell':
        return this.handlers.told(message.body);
      case 'ask':
        return void this.#answer(message.number, message.kind, message.body);
      case 'answer':
        return this.#take(message.number)?.resolve(message.body);
      case 'failure':
        return this.#take(message.number)?.reject(Object.assign(new Error(message.text), message.facts));
    }
  }

  /** The other end has gone. */
  close(): void {
    this.#closed = true;
    for (const { reject, cancel } of this.#waiting.values()) {
      cancel();
      reject(new PeerError('the other process has gone'));
    }
    this.#waiting.clear();
  }

  async #answer(number: number, kind: string, body: unknown): Promise<void> {
    let answer: Message;
    try {
      answer = { type: 'answer', number, body: await this.handlers.asked(kind, body) };
    } catch (error) {
      answer = { type: 'failure', number, text: error instanceof Error ? error.message : String(error), facts: factsOf(error) };
    }
    if (!this.#closed) this.send(answer);
  }

  #take(number: number): { resolve: (answer: unknown) => void; reject: (error: Error) => void } | undefined {
    const waiting = this.#waiting.get(number);
    this.#waiting.delete(number);
    waiting?.cancel();
    return waiting;
  }
}

function factsOf(error: unknown): Facts {
  const { code, host, port, problems } = (error ?? {}) as Facts;
  return { ...(code !== undefined && { code }), ...(host !== undefined && { host }), ...(port !== undefined && { port }), ...(problems !== undefined && { problems }) };
}
