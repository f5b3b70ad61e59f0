import { createServer } from 'node:net';

/**
 * Under the ports that Linux gives to outgoing connections (32768 and up): one of those may take a free port at any time, and who tries again and
 * again to connect to one may in the end be connected to himself. No default port of ours is in here.
 */
const portMin = 21_000;
const portCount = 8_000;
const attemptsMax = 100;
const given = new Set<number>();

/** A port of 127.0.0.1 that was free a moment ago, another at each call. Another process may take it first: whoever can must try again then. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const port = portMin + Math.floor(Math.random() * portCount);
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`of ${attemptsMax} ports from ${portMin} none is free`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const isListening = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => resolve(true));
  });
  if (isListening) await new Promise<void>((resolve) => server.close(() => resolve()));
  return isListening;
}
