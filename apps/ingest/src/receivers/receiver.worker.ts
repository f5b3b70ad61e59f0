import { systemClock } from '@binnacle/cluster-state/clock';
import { parentPort, workerData } from 'node:worker_threads';
import { ConnectionCount } from './connection-count.js';
import type { ReceiverReport, ReceiverRequest, ReceiverThreadData } from './hand-over.js';
import { type ListenError, Receiver } from './receiver.js';
import { ReceiverIntake } from './receiver-intake.js';

/** What comes is handed over so often, whether anyone asks or not: it is what a thread that dies takes along. */
const handOverIntervalMs = 1_000;
/** How often it looks whether there is room still. */
const lookIntervalMs = 50;

const port = parentPort;
if (port === null) throw new Error('this is a worker thread');
const { place, config, connections, number } = workerData as ReceiverThreadData;

const intake = new ReceiverIntake(config, systemClock);
const receiver = new Receiver(place, config, intake.lines, new ConnectionCount(connections, number), (line) => intake.takeBadLine('too-long', line));
let asked = 0;
let counted = (): void => {};
let handingOver: Promise<void> | undefined;
let isAskedAgain = false;
let lastMs = performance.now();
const before = { packets: 0, refused: 0 };

function report(each: ReceiverReport, transfer: ArrayBuffer[] = []): void {
  port?.postMessage(each, transfer);
}

/** Resolves when what came before the call is counted. */
function handOver(): Promise<void> {
  isAskedAgain = true;
  handingOver ??= (async () => {
    while (isAskedAgain) {
      isAskedAgain = false;
      await handOverOnce();
    }
    handingOver = undefined;
  })();
  return handingOver;
}

async function handOverOnce(): Promise<void> {
  const answers = asked;
  const { packets, refused } = receiver;
  lastMs = performance.now();
  const { counts, ...taken } = await intake.take();
  const isCounted = new Promise<void>((resolve) => (counted = resolve));
  const all = { ...counts, packets: packets - before.packets, refused: refused - before.refused };
  Object.assign(before, { packets, refused });
  report({ handOver: { answers, ...taken, counts: all } }, taken.messages.map(({ buffer }) => buffer));
  await isCounted;
}

async function end(): Promise<void> {
  await receiver.close();
  await handOver();
  process.exit(0);
}

port.on('message', (request: ReceiverRequest) => {
  if (request === 'counted') counted();
  else if (request === 'close') void end();
  else {
    asked = request.handOver;
    void handOver();
  }
});

try {
  report({ listening: await receiver.open() });
  setInterval(() => {
    if (handingOver === undefined && (intake.isHalfFull() || performance.now() - lastMs >= handOverIntervalMs)) void handOver();
  }, lookIntervalMs);
} catch (error) {
  const { protocol, cause } = error as ListenError;
  report({ failure: { protocol, code: cause.code, message: cause.message } });
}
