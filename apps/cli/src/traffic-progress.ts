import type { ShownJob } from './traffic-client.js';

const mebibyte = 2 ** 20;
const fileIntervalMs = 10_000;

/** How far a job is: on a terminal one line that is written over itself, in a log file one more every ten seconds. On standard error. */
export class TrafficProgress {
  #shownAtMs = -Infinity;
  #isOpen = false;

  show(line: string): void {
    const { isTTY } = process.stderr;
    const nowMs = performance.now();
    if (!isTTY && nowMs - this.#shownAtMs < fileIntervalMs) return;
    this.#shownAtMs = nowMs;
    this.#isOpen = isTTY;
    process.stderr.write(isTTY ? `\r\x1b[K${line.slice(0, Math.max(20, (process.stderr.columns || 80) - 1))}` : `${line}\n`);
  }

  /** A line of its own. */
  say(line: string): void {
    this.end();
    process.stderr.write(`${line}\n`);
  }

  end(): void {
    if (this.#isOpen) process.stderr.write('\n');
    this.#isOpen = false;
  }
}

export function captureLine({ progress, commands, sessions = 0, bytes = 0, leftOut = {} }: ShownJob): string {
  const left = Object.values(leftOut).reduce((sum, count) => sum + count, 0);
  return `capture ${progress}: ${commands} commands of ${sessions} sessions, ${(bytes / mebibyte).toFixed(1)} MB${left > 0 ? `, ${left} left out` : ''}`;
}

export function replayLine(progress: string, { commands, sent = 0, skipped = 0, failed = 0, different = 0, lagMs = 0 }: Pick<ShownJob, 'commands' | 'sent' | 'skipped' | 'failed' | 'different' | 'lagMs'>): string {
  const behind = lagMs >= 1_000 ? `, ${(lagMs / 1_000).toFixed(1)} s behind` : '';
  return `replay ${progress}: ${sent} of ${commands} commands sent, ${different} different, ${failed} failed, ${skipped} skipped${behind}`;
}
