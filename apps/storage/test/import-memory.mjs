/*
 * An import that is much larger than memory may become:  node apps/storage/test/import-memory.mjs [megabytes] [limit in megabytes] [length of a text in each line]
 * Starts a storage node as it is built and as the product starts it, streams lines to it, and prints the resident memory it reached and the processor time it took; exits 1 over the limit.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [megabytes = 5_000, limitMegabytes = 400, textLength = 900] = process.argv.slice(2).map(Number);
const { nodeFlags, storageFlags, withJemalloc } = await import(new URL('../../cli/launch/preload.mjs', import.meta.url).href);
const secret = 'the-secret-of-this-trial';
const folder = mkdtempSync(join(tmpdir(), 'binnacle-import-'));
const port = await freePort();
const node = spawn(process.execPath, [...nodeFlags, ...storageFlags, fileURLToPath(new URL('../dist/main.js', import.meta.url))], {
  env: {
    ...withJemalloc(process.env).env,
    NODE_OPTIONS: '',
    BINNACLE_NODE_PORT: String(port),
    BINNACLE_NODE_CLUSTER_SECRET: secret,
    BINNACLE_DATA_DIR: folder,
  },
  stdio: ['ignore', 'inherit', 'inherit'],
});

try {
  await untilReady();
  await ask('POST', '/collections', JSON.stringify({ name: 'trial', fields: [{ name: 'title', type: 'string' }, { name: 'number', type: 'int32' }] }));
  const startedAtMs = performance.now();
  const { documents, failures } = await importLines(megabytes * 1e6);
  const seconds = (performance.now() - startedAtMs) / 1000;
  const { num_documents: kept } = JSON.parse(await ask('GET', '/collections/trial'));
  const peak = peakMegabytes();
  const metrics = await ask('GET', '/metrics');
  const cpuSeconds = Number(/^process_cpu_seconds_total (\S+)$/m.exec(metrics)?.[1]);
  const loop = /^nodejs_eventloop_lag_p99_seconds (\S+)$/m.exec(metrics)?.[1];
  console.log(JSON.stringify({ megabytes, textLength, documents, failures, kept, seconds, documentsPerSecond: Math.round(documents / seconds), peakMegabytes: peak, cpuSeconds, eventLoopP99S: Number(loop) }));
  if (failures > 0 || kept !== documents || peak > limitMegabytes) process.exitCode = 1;
} finally {
  node.kill('SIGTERM');
  await once(node, 'exit');
  rmSync(folder, { recursive: true, force: true });
}

async function importLines(bytesMax) {
  const sent = request(options('POST', '/collections/trial/documents/import?action=upsert'));
  let failures = 0;
  let results = 0;
  const answered = once(sent, 'response').then(async ([response]) => {
    let rest = '';
    for await (const chunk of response.setEncoding('utf8')) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop();
      results += lines.length;
      failures += lines.filter((line) => line !== '{"success":true}').length;
    }
    results += 1;
    if (rest !== '{"success":true}') failures += 1;
  });
  const text = 'x'.repeat(textLength);
  let documents = 0;
  for (let bytes = 0; bytes < bytesMax; ) {
    let block = '';
    for (let line = 0; line < 500; line++, documents++) {
      block += `${JSON.stringify({ id: `document-${documents}`, title: `number ${documents} of the trial`, number: documents % 1_000_000, text })}\n`;
    }
    bytes += block.length;
    if (!sent.write(block)) await once(sent, 'drain');
  }
  sent.end();
  await answered;
  if (results !== documents) throw new Error(`${documents} documents had ${results} results`);
  return { documents, failures };
}

function options(method, path) {
  return { host: '127.0.0.1', port, method, path, headers: { 'x-binnacle-cluster-secret': secret, 'x-binnacle-dialect': 'typesense', 'content-type': 'application/json' } };
}

async function ask(method, path, body) {
  const sent = request(options(method, path));
  sent.end(body);
  const [response] = await once(sent, 'response');
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  if (response.statusCode >= 300) throw new Error(`${method} ${path}: ${response.statusCode} ${text}`);
  return text;
}

async function untilReady() {
  for (const deadlineMs = performance.now() + 30_000; ; ) {
    const isReady = await ask('GET', '/readyz').then(
      () => true,
      () => false,
    );
    if (isReady) return;
    if (performance.now() > deadlineMs || node.exitCode !== null) throw new Error('the node did not become ready');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function peakMegabytes() {
  return Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${node.pid}/status`, 'utf8'))?.[1]) / 1000);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}
