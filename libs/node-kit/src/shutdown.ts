import type { Clock } from '@binnacle/cluster-state/clock';
import type { Logger } from 'pino';

export interface ShutdownStep {
  /** What is being done, for the line that says what a deadline cut off: `drain gateway`. */
  readonly name: string;
  run(): Promise<void> | void;
}

/** The deadline came first; the message says what still ran. */
export class ShutdownDeadlineError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ShutdownDeadlineError';
  }
}

/**
 * Runs the steps one after the other. A step that fails is logged and the next one runs: half a shutdown helps nobody.
 * Rejects with `ShutdownDeadlineError` when they take longer than `deadlineMs` together; the step that hangs goes on unattended.
 */
export async function runShutdown(
  steps: readonly ShutdownStep[],
  options: { clock: Clock; deadlineMs: number; log: Logger; describeRest: () => string },
): Promise<void> {
  const { clock, deadlineMs, log, describeRest } = options;
  let current = '';
  let overdue = false;
  let cancel = (): void => {};
  const deadline = new Promise<never>((_, reject) => {
    cancel = clock.after(deadlineMs, () => {
      overdue = true;
      const rest = describeRest();
      reject(new ShutdownDeadlineError(`not stopped within ${deadlineMs} ms: "${current}" still ran${rest && `; requests in flight: ${rest}`}`));
    });
  });
  const all = async (): Promise<void> => {
    for (const step of steps) {
      if (overdue) return;
      current = step.name;
      try {
        await step.run();
      } catch (error) {
        log.error({ err: error, step: step.name }, `shutdown: "${step.name}" failed`);
      }
    }
  };
  try {
    await Promise.race([all(), deadline]);
  } finally {
    cancel();
  }
}
