/*
 * Sends lines for lines.bench.ts. Over UDP no sender of Node.js keeps such a server busy, and one that is not busy wakes for every packet: so the server is
 * stopped while its socket fills up, as far as it may without losing anything (/proc/net/udp), and then goes on until it has read all. Over TCP the
 * connection sees to it. Prints what was sent, and how long it took.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { packetsOf } from './packets.ts';

const [protocol, port, seconds, seriesCount, bytesMax, pid] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const { packets, lines } = packetsOf(seriesCount, 4_000, bytesMax);
/** Both servers ask for 4 MiB, and get what the system allows. */
const bufferBytes = Math.min(4_194_304, Number(readFileSync('/proc/sys/net/core/rmem_max', 'latin1')));
/** Packets that two thirds of it hold, by what the kernel counts for each, which is more than its bytes. */
const packetsPerFill = Math.floor((bufferBytes * 0.65) / (bytesMax > 500 ? 2_304 : 768));
/** Over TCP. */
const packetsPerWrite = 80;
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
    process.kill(pid, 'SIGSTOP');
    let left = packetsPerFill;
    await new Promise((resolve) => {
      const done = () => --left === 0 && resolve();
      for (let at = 0; at < packetsPerFill; at++) socket.send(packets[sent++ % packets.length], done);
    });
    process.kill(pid, 'SIGCONT');
    while (waiting() > 0);
  }
  const elapsedS = (performance.now() - startMs) / 1_000;
  socket.close();
  return { elapsedS, sent };
}

async function overTcp() {
  const pieces = [];
  for (let at = 0; at < packets.length; at += packetsPerWrite) pieces.push(Buffer.concat(packets.slice(at, at + packetsPerWrite)));
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const startMs = performance.now();
  let sent = 0;
  for (; performance.now() - startMs < seconds * 1_000; ) {
    const piece = pieces[(sent / packetsPerWrite) % pieces.length];
    sent += packetsPerWrite;
    if (!socket.write(piece)) await once(socket, 'drain');
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
