import type { Thresholds } from '../report/traffic-report.js';
import { type Account, accountOf, startOf } from './capture-form.js';
import { bad, shown, type TrafficForm } from './traffic-form.js';

/** What a client wants replayed, checked as far as the form alone tells. */
export interface ReplayWish {
  /** As it was given: an absolute folder, `file:///FOLDER`, or `s3://BUCKET/PREFIX`. */
  readonly input: string;
  readonly username: string;
  readonly password: string;
  readonly speed: number;
  readonly readOnly: boolean;
  readonly ignoreErrors: boolean;
  /** RFC 3339; commands at or before it are skipped. */
  readonly after: string | undefined;
  /** RFC 3339; commands later than it are skipped. */
  readonly before: string | undefined;
  readonly filters: ReplayFilters;
  readonly explain: Account | undefined;
  /** Those that were given. */
  readonly thresholds: Partial<Thresholds>;
  readonly startedAtMs: number;
}

/** Each empty: all. */
export interface ReplayFilters {
  readonly users: readonly string[];
  /** As in the files: `Query`, `StmtExecute`. */
  readonly commands: readonly string[];
  /** 64 hexadecimal digits. */
  readonly digests: readonly string[];
}

const [speedMin, speedMax] = [0.1, 10];
const filterPartsMax = 100;

/** Fields of later versions of TiProxy that ask for what is not done here; refused, because leaving them out would do something else than was asked for. */
const refused: Readonly<Record<string, string>> = {
  checkpointpath: 'a replay that ended cannot be taken up again: use cmdstarttime',
  outputpath: 'what is replayed is in the report',
  addr: 'a proxy replays to its own backends: `binnacle traffic replay --target HOST:PORT` replays elsewhere',
  dryrun: 'nothing is replayed without a target',
  'wait-on-eof': 'a capture is replayed once it has ended',
};

/** A threshold's field and its name in reports. */
export const thresholdFields: readonly (readonly [field: string, name: keyof Thresholds, most: number])[] = [
  ['different-max', 'differentMax', 1],
  ['new-error-max', 'newErrorMax', 1],
  ['error-gone-max', 'errorGoneMax', 1],
  ['other-order-max', 'otherOrderMax', 1],
  ['p95-factor-max', 'p95FactorMax', 1_000_000],
  ['plan-changes-max', 'planChangesMax', 1_000_000],
  ['not-compared-max', 'notComparedMax', 1],
  ['incomplete-parts-max', 'incompletePartsMax', 1_000_000],
];

/** TiProxy's form and texts; filters, thresholds and `explain-…` are ours. Throws BAD_REQUEST. */
export function replayWish(form: TrafficForm, nowMs: number): ReplayWish {
  const input = form.text('input');
  if (input === '') throw bad('input is required');
  const username = form.text('username');
  if (username === '') throw bad('username is required');
  for (const [name, why] of Object.entries(refused)) if (!['', 'false'].includes(form.text(name))) throw bad(`${name} is not supported: ${why}`);
  checkFormat(form);
  const wish: ReplayWish = {
    input,
    username,
    password: form.text('password'),
    speed: speedOf(form),
    // As TiProxy does, except that what is neither true nor false is no `false`.
    readOnly: form.boolean('readonly', false),
    ignoreErrors: form.boolean('ignore-errs', false),
    after: form.time('cmdstarttime'),
    before: form.time('cmdendtime'),
    filters: { users: form.list('users', filterPartsMax), commands: form.list('commands', filterPartsMax), digests: digestsOf(form) },
    explain: accountOf(form),
    thresholds: thresholdsOf(form),
    startedAtMs: startOf(form, nowMs, 0),
  };
  form.end();
  return wish;
}

function checkFormat(form: TrafficForm): void {
  const format = form.text('format');
  if (format !== '' && format !== 'native') throw bad(`invalid traffic file format ${format.slice(0, 100)}: only native files can be replayed`);
  const psClose = form.text('ps-close');
  if (psClose !== '' && psClose !== 'directed') throw bad(`ps-close is directed for native files, not ${shown(psClose)}`);
  // How much TiProxy reads ahead; here memory is bounded without being told how.
  form.number('bufsize', 0);
}

function speedOf(form: TrafficForm): number {
  const speed = form.number('speed', 1) || 1;
  if (!(speed >= speedMin && speed <= speedMax)) throw bad('speed should be between 0.100000 and 10.000000');
  return speed;
}

function digestsOf(form: TrafficForm): string[] {
  const digests = form.list('digests', filterPartsMax).map((digest) => digest.toLowerCase());
  const wrong = digests.find((digest) => !/^[0-9a-f]{64}$/.test(digest));
  if (wrong !== undefined) throw bad(`a digest has 64 hexadecimal digits, as reports show it, not ${shown(wrong)}`);
  return digests;
}

function thresholdsOf(form: TrafficForm): Partial<Thresholds> {
  const given = thresholdFields.flatMap(([field, name, most]): [string, number][] => {
    const value = form.number(field, Number.NaN);
    if (Number.isNaN(value)) return [];
    if (!(value >= 0 && value <= most)) throw bad(`${field} is from 0 to ${most}`);
    return [[name, value]];
  });
  return Object.fromEntries(given);
}
