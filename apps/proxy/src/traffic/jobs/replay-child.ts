import { explainCapture } from '../plans/explain-capture.js';
import { runReplay } from '../replay/replay-engine.js';
import { type FromReplay, type ToReplay, warningsMax } from './replay-protocol.js';

/* The process that replays: its memory and its event loop are not those of the sessions. It is told everything over its channel, so that nothing of it is in its arguments or its environment. */

const cancel = new AbortController();

function say(message: FromReplay): Promise<void> {
  return new Promise((resolve) => void process.send?.(message, undefined, undefined, () => resolve()));
}

let warnings = 0;

function warn(text: string): void {
  warnings++;
  if (warnings < warningsMax) void say({ kind: 'warning', text });
  else if (warnings === warningsMax) void say({ kind: 'warning', text: 'there are more warnings than these' });
}

async function work(message: Extract<ToReplay, { order: unknown }>): Promise<void> {
  try {
    if (message.kind === 'explain') await say({ kind: 'explained', plans: await explainCapture(message.order) });
    else await say({ kind: 'facts', facts: await runReplay(message.order, { progress: (progress) => void say({ kind: 'progress', progress }), warn, signal: cancel.signal }) });
  } catch (error) {
    await say({ kind: 'failed', error: (error as Error).message });
  }
  process.exit();
}

process.on('message', (message: ToReplay) => {
  if (message.kind === 'cancel') cancel.abort(new Error(message.reason));
  else void work(message);
});
// Whoever started it has died: nobody will read what comes out.
process.on('disconnect', () => process.exit(1));
// Ctrl-C in a terminal reaches the whole group; the one who started this process says what becomes of it.
process.on('SIGINT', () => {});

void say({ kind: 'ready' });
