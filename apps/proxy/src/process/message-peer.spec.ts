import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { MessagePeer, type PeerHandlers } from './message-peer.js';

interface Asked {
  double: { ask: number; answer: number };
}

/** Two ends of one channel, each message cloned on its way as between processes. */
function joined(handlers: Partial<PeerHandlers>) {
  const clock = new FakeClock();
  const told: unknown[] = [];
  const all: PeerHandlers = { told: (body) => void told.push(body), asked: async (_, body) => (body as number) * 2, ...handlers };
  const left: MessagePeer<Asked> = new MessagePeer((message) => right.received(structuredClone(message)), all, clock);
  const right: MessagePeer<Asked> = new MessagePeer((message) => left.received(structuredClone(message)), all, clock);
  return { clock, left, right, told };
}

test('tells, and gets answers to what it asks, in both directions', async () => {
  const { left, right, told } = joined({});
  left.tell({ view: new Set(['a']) });
  expect(told).toEqual([{ view: new Set(['a']) }]);
  expect(await Promise.all([left.ask('double', 2, 1_000), right.ask('double', 5, 1_000)])).toEqual([4, 10]);
});

test('a failure at the other end rejects with its message', async () => {
  const { left } = joined({ asked: () => Promise.reject(new Error('port 6000 is in use')) });
  await expect(left.ask('double', 1, 1_000)).rejects.toThrow('port 6000 is in use');
});

test('no answer by the deadline, and an end that goes, reject what waits', async () => {
  const { left, clock } = joined({ asked: () => new Promise(() => {}) });
  const late = left.ask('double', 1, 1_000);
  clock.advance(1_000);
  await expect(late).rejects.toThrow('no answer to "double" within 1000 ms');
  const cut = left.ask('double', 1, 1_000);
  left.close();
  await expect(cut).rejects.toThrow('has gone');
  await expect(left.ask('double', 1, 1_000)).rejects.toThrow('has gone');
});

test('leaves messages of others alone', () => {
  const { left, told } = joined({});
  for (const other of [undefined, null, 5, 'x', {}, { cmd: 'NODE_CLUSTER', ack: 1 }, { type: 'answer', number: 77, body: 1 }]) left.received(other);
  expect(told).toEqual([]);
});
