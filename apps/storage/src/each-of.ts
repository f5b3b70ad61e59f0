/**
 * Runs up to `together` at a time and rejects with the first failure once all that were begun have ended. The others are begun whatever becomes of the
 * first ones, unless `stopsAtFailure`.
 */
export async function eachOf<T>(items: readonly T[], together: number, run: (item: T) => Promise<void>, { stopsAtFailure = false } = {}): Promise<void> {
  const failures: unknown[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length && !(stopsAtFailure && failures.length > 0)) {
      try {
        await run(items[next++] as T);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(together, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
}
