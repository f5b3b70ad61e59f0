export class DeadlinePassed extends Error {
  override readonly name = 'DeadlinePassed';
}

/**
 * Runs it until it settles, the deadline is over (rejects with `DeadlinePassed`), or the caller gives up (rejects with the signal's reason).
 * What cannot be cancelled, like a call of a file system that hangs, goes on unobserved.
 */
export async function withDeadline<T>(
  timeoutMs: number,
  caller: AbortSignal | undefined,
  action: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  caller?.throwIfAborted();
  const controller = new AbortController();
  const { signal } = controller;
  const timer = setTimeout(() => controller.abort(new DeadlinePassed(`not within ${timeoutMs} ms`)), timeoutMs);
  const giveUp = (): void => controller.abort(caller?.reason);
  caller?.addEventListener('abort', giveUp, { once: true });
  try {
    const running = action(signal);
    const ended = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }));
    return await Promise.race([running, ended]);
  } catch (error) {
    // What an aborted action rejects with depends on where it was.
    throw signal.aborted ? signal.reason : error;
  } finally {
    clearTimeout(timer);
    caller?.removeEventListener('abort', giveUp);
  }
}
