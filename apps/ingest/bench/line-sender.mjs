/*
 * Sends lines as fast as they are taken, for lines.bench.ts: over UDP it watches how much waits in the socket of the server (/proc/net/udp) and never
 * lets it fill up, so that nothing is lost; over TCP the connection does that. Prints how long it took until all was taken, in seconds.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { packetsOf } from './packets.ts';

const [protocol, port, seconds, seriesCount, bytesMax] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const { packets, lines } = packetsOf(seriesCount, 4_000, bytesMax);
/** As the kernel counts what waits, which is more than its bytes. Together less than its smallest buffer; to look costs as much as to send ten. */
const waitingMax = 30_000;
const packetsPerLook = Math.floor(100_000 / (bytesMax > 500 ? 2_304 : 768));
const ending = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;

function waiting() {
  for (const line of readFileSync('/proc/net/udp', 'latin1').split('\n')) {
    const columns = line.trim().split(/\s+/);
    if (columns[1]?.endsWith(ending)) return Number.parseInt(columns[4].split(':')[1], 16);
  }
  throw new Error('nobody listens');
}

async function overUdp() {
  const socket = createSocket('udp4');
  socket.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const startMs = performance.now();
  let sent = 0;
  for (; performance.now() - startMs < seconds * 1_000; ) {
    while (waiting() > waitingMax);
    let left = packetsPerLook;
    await new Promise((resolve) => {
      const done = () => --left === 0 && resolve();
      for (let at = 0; at < packetsPerLook; at++) socket.send(packets[sent++ % packets.length], done);
    });
  }
  while (waiting() > 0);
  const elapsedS = (performance.now() - startMs) / 1_000;
  socket.close();
  return { elapsedS, sent };
}

async function overTcp() {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const startMs = performance.now();
  let sent = 0;
  for (; performance.now() - startMs < seconds * 1_000; ) {
    const pieces = [];
    for (let at = 0; at < 40; at++) pieces.push(packets[sent++ % packets.length]);
    if (!socket.write(Buffer.concat(pieces))) await once(socket, 'drain');
  }
  socket.end();
  await once(socket.resume(), 'close');
  return { elapsedS: (performance.now() - startMs) / 1_000, sent };
}

const { elapsedS, sent } = protocol === 'udp' ? await overUdp() : await overTcp();
const inRound = packets.map((packet) => packet.reduce((sum, byte) => sum + (byte === 10 ? 1 : 0), 0));
let sentLines = Math.floor(sent / packets.length) * lines;
for (let at = 0; at < sent % packets.length; at++) sentLines += inRound[at];
process.stdout.write(JSON.stringify({ elapsedS, lines: sentLines, packets: sent }));
