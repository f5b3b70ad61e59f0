import { expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { PlainChannel } from './plain-channel.js';

/** Seconds until the kernel asks the peer for a sign of life; undefined while it will not. */
async function secondsToProbe(localPort: number): Promise<number | undefined> {
  const port = localPort.toString(16).toUpperCase().padStart(4, '0');
  const line = (await readFile('/proc/net/tcp', 'utf8')).split('\n').find((each) => each.trim().split(/\s+/)[1]?.endsWith(`:${port}`));
  const [timer, ticks] = line!.trim().split(/\s+/)[5]!.split(':');
  return timer === '02' ? Number.parseInt(ticks!, 16) / 100 : undefined;
}

test('a channel is watched as closely as it is told', async () => {
  const server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const channel = await PlainChannel.dial({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, timeoutMs: 1_000 });
  try {
    expect(await secondsToProbe(channel.localPort)).toBeUndefined();
    channel.keepAlive({ enabled: true, idleMs: 60_000, intvlMs: 0, cnt: 0 });
    expect(await secondsToProbe(channel.localPort)).toBeGreaterThan(50);
    channel.keepAlive({ enabled: true, idleMs: 10_000, intvlMs: 3_000, cnt: 5 });
    const soon = await secondsToProbe(channel.localPort);
    expect(soon).toBeGreaterThan(5);
    expect(soon).toBeLessThanOrEqual(11);
    channel.keepAlive({ enabled: false, idleMs: 0, intvlMs: 0, cnt: 0 });
    expect(await secondsToProbe(channel.localPort)).toBeUndefined();
  } finally {
    channel.destroy();
    server.close();
  }
});
