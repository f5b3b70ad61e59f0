import { bad, shown, type TrafficForm } from './traffic-form.js';
import { parseGoDuration, parseGoTime } from './go-values.js';

/** What a client wants captured, checked as far as the form alone tells. */
export interface CaptureWish {
  /** As it was given: an absolute folder, `file:///FOLDER`, or `s3://BUCKET/PREFIX`. */
  readonly output: string;
  readonly durationMs: number;
  readonly compress: boolean;
  readonly encryptMethod: EncryptMethod;
  /** In which order files are compressed and encrypted, where they are both. */
  readonly layers: Layers;
  readonly explain: Account | undefined;
  /** What the job is labelled with. */
  readonly startedAtMs: number;
}

export type EncryptMethod = '' | 'aes256-ctr';
/** `encrypt-first` is what TiProxy reads. */
export type Layers = 'compress-first' | 'encrypt-first';

export interface Account {
  readonly username: string;
  readonly password: string;
}

/** One week: what runs longer fills disks that nobody looks at. */
const durationMsMax = 7 * 24 * 3_600_000;
const durationMsMin = 100;
/** Clocks of TiDB and of the proxy may be apart by so much. */
const clockDifferenceMs = 60_000;

/** TiProxy's form and texts; `encrypt-layers`, `explain-username` and `explain-password` are ours. Throws BAD_REQUEST. */
export function captureWish(form: TrafficForm, nowMs: number): CaptureWish {
  const output = form.text('output');
  if (output === '') throw bad('output is required');
  const durationMs = durationOf(form.text('duration'));
  const wish: CaptureWish = {
    output,
    durationMs,
    compress: form.boolean('compress', true),
    encryptMethod: encryptMethodOf(form.text('encrypt-method')),
    layers: layersOf(form.text('encrypt-layers')),
    explain: accountOf(form),
    startedAtMs: startOf(form, nowMs, durationMs),
  };
  form.end();
  return wish;
}

function durationOf(text: string): number {
  if (text === '') throw bad('duration is required');
  let ms: number;
  try {
    ms = parseGoDuration(text);
  } catch (error) {
    throw bad((error as Error).message);
  }
  if (ms < durationMsMin || ms > durationMsMax) throw bad(`duration should be between 100ms and ${durationMsMax / 3_600_000}h`);
  return ms;
}

function encryptMethodOf(text: string): EncryptMethod {
  const method = text.toLowerCase();
  if (method === '' || method === 'plaintext') return '';
  if (method === 'aes256-ctr') return method;
  throw bad(`unsupported encrypt method: ${text.slice(0, 100)}`);
}

function layersOf(text: string): Layers {
  if (text === '' || text === 'compress-first') return 'compress-first';
  if (text === 'encrypt-first') return text;
  throw bad(`encrypt-layers is compress-first, or encrypt-first for files that TiProxy can read, not ${shown(text)}`);
}

/** Both fields or neither: a password alone is a mistake. */
export function accountOf(form: TrafficForm): Account | undefined {
  const [username, password] = [form.text('explain-username'), form.text('explain-password')];
  if (username !== '') return { username, password };
  if (password !== '') throw bad('explain-password without explain-username');
  return undefined;
}

/** TiDB sends the same time to every proxy. It labels the job; the duration counts from the request. */
export function startOf(form: TrafficForm, nowMs: number, durationMs: number): number {
  const text = form.time('start-time');
  if (text === undefined) return nowMs;
  const ms = parseGoTime(text) as number;
  if (ms > nowMs + clockDifferenceMs) throw bad('start time should not be in the future');
  if (ms + durationMs < nowMs - clockDifferenceMs) throw bad('start time should not be in the past');
  return ms;
}
