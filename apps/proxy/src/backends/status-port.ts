import { request, type Dispatcher } from 'undici';
import { addressOf } from './discovery.js';
import { limitedText } from './limited-text.js';
import type { LoadSample } from './load-history.js';

export interface StatusPortOptions {
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
  /** Asked over TLS by this; absent: plain HTTP. */
  readonly tls?: Dispatcher;
}

const statusBytesMax = 65_536;
const configBytesMax = 1_048_576;
/** A TiDB server has some megabytes of metrics, of which half a kilobyte is read. */
const metricsBytesMax = 64 * 1_048_576;
const lineBytesMax = 65_536;

async function get(path: string, { host, port, timeoutMs, tls }: StatusPortOptions): Promise<Dispatcher.ResponseData['body']> {
  const url = `${tls === undefined ? 'http' : 'https'}://${addressOf(host, port)}${path}`;
  const signal = AbortSignal.timeout(timeoutMs);
  const { statusCode, body } = await request(url, { signal, ...(tls !== undefined && { dispatcher: tls }) });
  if (statusCode === 200) return body;
  await body.dump();
  throw new Error(`${path} answers ${statusCode}`);
}

/** A server that shuts down gracefully answers 500 here while its SQL port still takes connections. Rejects then, and when nothing answers. */
export async function checkStatus(options: StatusPortOptions): Promise<void> {
  JSON.parse(await limitedText(await get('/status', options), statusBytesMax));
}

/** Whether it has the certificate that session tokens are signed with: without it no session of its can move. */
export async function hasSigningCertificate(options: StatusPortOptions): Promise<boolean> {
  const config = JSON.parse(await limitedText(await get('/config', options), configBytesMax)) as { security?: Record<string, unknown> };
  return (config.security?.['session-token-signing-cert'] ?? '') !== '';
}

const wanted = /^(process_cpu_seconds_total|tidb_server_maxprocs|process_resident_memory_bytes|tidb_server_memory_quota_bytes|tidb_tikvclient_backoff_seconds_count)(\{[^}]*\})? (\S+)/;

/** Reads through the text piece by piece: it is long, and sessions share the thread. */
export async function readLoad(options: StatusPortOptions, atMs: number): Promise<LoadSample> {
  const sums = new Map<string, number>();
  let rest = '';
  let bytes = 0;
  for await (const chunk of (await get('/metrics', options)) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > metricsBytesMax) throw new Error(`/metrics has more than ${metricsBytesMax} bytes`);
    const lines = (rest + chunk.toString('latin1')).split('\n');
    rest = lines.pop()!.slice(0, lineBytesMax);
    for (const line of lines) readLine(line, sums);
  }
  readLine(rest, sums);
  const cpu = sums.get('process_cpu_seconds_total');
  const cores = sums.get('tidb_server_maxprocs') ?? 0;
  const memory = sums.get('process_resident_memory_bytes');
  const quota = sums.get('tidb_server_memory_quota_bytes') ?? 0;
  const [pdErrors, storeErrors] = [sums.get('pd'), sums.get('store')];
  return {
    atMs,
    ...(cpu !== undefined && cores > 0 && { cpuSeconds: cpu / cores }),
    ...(memory !== undefined && quota > 0 && { memoryUsage: memory / quota }),
    ...(pdErrors !== undefined && { pdErrors }),
    ...(storeErrors !== undefined && { storeErrors }),
  };
}

function readLine(line: string, sums: Map<string, number>): void {
  // Nearly no line is one of those; this is the cheapest way to tell.
  if (!line.startsWith('process_') && !line.startsWith('tidb_')) return;
  const [, name, labels = '', text] = wanted.exec(line) ?? [];
  const value = Number(text);
  if (name === undefined || !Number.isFinite(value)) return;
  if (!name.startsWith('tidb_tikvclient')) sums.set(name, value);
  else if (labels.includes('type="pdRPC"')) sums.set('pd', (sums.get('pd') ?? 0) + value);
  else if (/type="(regionMiss|tikvRPC)"/.test(labels)) sums.set('store', (sums.get('store') ?? 0) + value);
}
