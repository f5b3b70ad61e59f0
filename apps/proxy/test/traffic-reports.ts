import { createHash } from 'node:crypto';
import type { CommandResult } from '../src/traffic/command-result.js';
import type { ComparedCommand } from '../src/traffic/report/report-builder.js';
import type { CapturedRun, ReplayedRun, ReportedRun } from '../src/traffic/report/traffic-report.js';

/** A result that went well with one row, unless told otherwise. */
export const result = (change: Partial<CommandResult> = {}): CommandResult => ({
  connectionId: 7,
  ordinal: 3,
  latencyUs: 1_000,
  errorCode: 0,
  rows: 1,
  affectedRows: 0,
  ordered: '00000000000000aa',
  unordered: '00000000000000bb',
  ...change,
});

export const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** A command that went equally well both times, unless told otherwise. */
export const command = (text: string, change: Partial<ComparedCommand> = {}): ComparedCommand => ({
  digest: digestOf(text),
  text,
  then: result(),
  now: result(),
  hasOrder: false,
  changesByNature: false,
  atMs: Date.UTC(2026, 0, 2, 3, 4, 5),
  ...change,
});

const run: ReportedRun = {
  from: '2026-01-02T03:04:05.000Z',
  to: '2026-01-02T03:14:05.000Z',
  commands: 1_000,
  connections: 20,
  server: 'MariaDB 11.4.5',
  cutOff: '',
};

export const capture: CapturedRun = { ...run, incompleteParts: 0 };

export const replay: ReplayedRun = { ...run, server: 'MariaDB 11.8.2', speed: 1, readOnly: false, lagMs: 2, lagMaxMs: 45 };
