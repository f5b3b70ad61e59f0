import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/*
 * What finding packets costs on the data path, against mysql2's packet parser with a callback that looks at the first byte and the length:
 * `node libs/mysql-wire/bench/packet-scanner.bench.ts` after a build. Contestants take turns; figures are medians over the rounds, ratios
 * medians of the ratios of one round. Chunks are 64 KB, as sockets give them, for rows, and one response each for point selects.
 * BENCH_ROUNDS (9), BENCH_MS: of one turn (200).
 */

const built = (file: string): string => new URL(`../dist/${file}.js`, import.meta.url).href;
const { Command } = (await import(built('command'))) as typeof import('../src/command.js');
const { framePayload } = (await import(built('packet-header'))) as typeof import('../src/packet-header.js');
const { encodeOk } = (await import(built('ok-packet'))) as typeof import('../src/ok-packet.js');
const { PacketScanner, ScanEvent } = (await import(built('packet-scanner'))) as typeof import('../src/packet-scanner.js');
const { ResponseEvent, ResponseTracker } = (await import(built('response-tracker'))) as typeof import('../src/response-tracker.js');

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 9);
const turnMs = Number(process.env['BENCH_MS'] ?? 200);
const deprecateEof = { capabilities: (1 << 9) | (1 << 24), mariadbCapabilities: 0 };

interface Workload {
  readonly name: string;
  readonly chunks: readonly Buffer[];
  readonly packets: number;
  readonly bytes: number;
}

const definition = Buffer.from('\x03def\x04test\x01t\x01t\x01c\x01c\x0c!\x00\x04\x00\x00\x00\xfd\x00\x00\x00\x00\x00', 'latin1');
const end = encodeOk({ header: 0xfe, statusFlags: 2 }, deprecateEof.capabilities);

function response(rows: number, rowBytes: number): Buffer[] {
  const row = Buffer.alloc(rowBytes, 'x');
  return [Buffer.from([1]), definition, ...Array.from({ length: rows }, () => row), end];
}

function cut(stream: Buffer, bytes: number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < stream.length; at += bytes) chunks.push(stream.subarray(at, at + bytes));
  return chunks;
}

function workload(name: string, payloads: readonly Buffer[], chunkBytes: number, repeated = 1): Workload {
  const stream = Buffer.concat(payloads.map((payload, index) => framePayload(payload, (index + 1) & 0xff)));
  const chunks = cut(stream, Math.min(chunkBytes, stream.length));
  return { name, chunks: Array.from({ length: repeated }, () => chunks).flat(), packets: payloads.length * repeated, bytes: stream.length * repeated };
}

const workloads = [
  workload('point select, 100-byte row', response(1, 100), Infinity, 1_000),
  workload('rows of 20 bytes', response(50_000, 20), 65_536),
  workload('rows of 200 bytes', response(20_000, 200), 65_536),
  workload('rows of 5,000 bytes', response(2_000, 5_000), 65_536),
  workload('rows of 200 bytes, chunks of 1,460', response(20_000, 200), 1_460),
];

let seen = 0;

// By its path: the package does not export it.
const parserFile = join(dirname(createRequire(import.meta.url).resolve('mysql2/package.json')), 'lib/packet_parser.js');
const Mysql2Parser = createRequire(import.meta.url)(parserFile) as new (onPacket: (packet: { start: number; end: number; offset: number; buffer: Buffer }) => void) => {
  execute(chunk: Buffer): void;
};
const parser = new Mysql2Parser((packet) => {
  if (packet.buffer[packet.offset] === 0xfe && packet.end - packet.start < 0xff_ff_ff) seen++;
});
const scanner = new PacketScanner();
const tracker = new ResponseTracker(deprecateEof);

const contestants: Record<string, (load: Workload) => void> = {
  'mysql2 parser': ({ chunks }) => {
    for (const chunk of chunks) parser.execute(chunk);
  },
  'PacketScanner, every packet': ({ chunks }) => {
    scanner.quietBelow = 0;
    for (const chunk of chunks) {
      scanner.feed(chunk);
      for (let event = scanner.next(); event !== ScanEvent.none; event = scanner.next()) {
        if (event === ScanEvent.begin) scanner.expectSequence(-1);
        else if (scanner.firstByte === 0xfe) seen++;
      }
    }
  },
  ResponseTracker: ({ chunks }) => {
    for (const chunk of chunks) {
      if (tracker.commandsPending === 0) tracker.expect(Command.query);
      tracker.feed(chunk);
      for (let event = tracker.next(); event !== ResponseEvent.none; event = tracker.next()) seen++;
    }
  },
};

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;

/** Packets a second of this process's CPU time. */
function turn(run: (load: Workload) => void, load: Workload): number {
  const began = process.cpuUsage();
  const until = performance.now() + turnMs;
  let times = 0;
  do {
    run(load);
    times++;
  } while (performance.now() < until);
  const { user, system } = process.cpuUsage(began);
  return (load.packets * times * 1e6) / (user + system);
}

for (const load of workloads) {
  const figures = new Map<string, number[]>();
  for (let round = -1; round < rounds; round++) {
    for (const [name, run] of Object.entries(contestants)) {
      const packets = turn(run, load);
      if (round >= 0) figures.set(name, [...(figures.get(name) ?? []), packets]);
    }
  }
  console.log(load.name);
  const peer = figures.get('mysql2 parser')!;
  for (const [name, values] of figures) {
    const ratio = median(values.map((value, round) => value / peer[round]!));
    const gigabytes = (median(values) * load.bytes) / load.packets / 1e9;
    console.log(`  ${name.padEnd(28)} ${(median(values) / 1e6).toFixed(1).padStart(7)} M packets/s ${gigabytes.toFixed(2).padStart(7)} GB/s   x ${ratio.toFixed(2)}`);
  }
}

// What a session costs that waits, and whether following a response leaves anything for the collector.
globalThis.gc?.();
const before = process.memoryUsage().heapUsed;
const idle = Array.from({ length: 10_000 }, () => new ResponseTracker(deprecateEof));
globalThis.gc?.();
console.log(`an idle ResponseTracker: ${((process.memoryUsage().heapUsed - before) / idle.length).toFixed(0)} bytes of heap${globalThis.gc ? '' : ' (uncollected: run with --expose-gc)'}`);
const point = workloads[0]!;
const heapBefore = process.memoryUsage().heapUsed;
contestants['ResponseTracker']!(point);
console.log(`heap taken by following 1,000 point selects: ${process.memoryUsage().heapUsed - heapBefore} bytes (${seen} events in all)`);
