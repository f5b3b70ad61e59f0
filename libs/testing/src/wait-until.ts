export interface WaitOptions {
  /** Named in the error when the time is over. */
  readonly what?: string;
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
}

/**
 * Polls until the condition gives something truthy, and returns that. Only for what happens in another process,
 * or in the operating system: everything inside this process is awaited as an event, or driven by `FakeClock`.
 */
export async function waitUntil<T>(condition: () => T | Promise<T>, options: WaitOptions = {}): Promise<NonNullable<T>> {
  const { what = condition.toString(), timeoutMs = 30_000, intervalMs = 10 } = options;
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadlineMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
