import { expect, test } from '@jest/globals';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { AgentClient, AgentTarget } from '@binnacle/node-kit/agent-client';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { RegionLagsOfNodes } from './region-lags.js';
import { RemoteUpload } from './remote-upload.js';

const record = (id: string, mode = 'Storage') => ({ id, roles: ['storage'], labels: { 'disagg-mode': mode } }) as unknown as NodeRecord;
const away = new BinnacleError('UPSTREAM_TIMEOUT', 'it did not answer');

/** A cluster node whose other nodes answer as given; an error is what asking rejects with. */
function given(answers: Record<string, unknown>, records = Object.keys(answers).map((id) => record(id))) {
  const asked: string[] = [];
  const clock = new FakeClock();
  const directory = { byRole: () => records, byId: (id: string) => records.find((each) => each.id === id) };
  const agent = {
    request: async ({ id }: AgentTarget) => {
      asked.push(id);
      const answer = answers[id];
      if (answer instanceof Error) throw answer;
      return answer;
    },
  } as unknown as AgentClient;
  return { node: { clock, directory } as unknown as NodeContext, agent, asked, clock };
}

const lagging = (count: number) => ({ regions: count, lagMsMax: 5, worst: Array.from({ length: count }, (_, region) => ({ table: 1, region, lagMs: 5 })) });

test('nodes that do not answer, or have no remote store, are absent; of the others the worst ten regions are shown', async () => {
  const { node, agent } = given({ w0: { status: 200, body: lagging(30) }, w1: away, w2: { status: 200, body: {} }, w3: { status: 503, body: '' } });
  const lags = await new RegionLagsOfNodes(node, agent).all();
  expect([...lags.keys()]).toEqual(['w0']);
  expect(lags.get('w0')).toEqual({ ...lagging(30), worst: lagging(10).worst });
});

test('one round of questions serves everybody who asks within a second', async () => {
  const { node, agent, asked, clock } = given({ w0: { status: 200, body: lagging(1) } });
  const lags = new RegionLagsOfNodes(node, agent);
  await Promise.all([lags.all(), lags.all()]);
  await clock.advance(900);
  await lags.all();
  expect(asked).toHaveLength(1);
  await clock.advance(200);
  await lags.all();
  expect(asked).toHaveLength(2);
});

test('an upload is asked of every write node, and has failed when one of them does not answer', async () => {
  const done = { status: 200, body: {} };
  const all = given({ w0: done, c0: done, b0: done }, [record('w0'), record('c0', 'Compute'), record('b0', 'Both')]);
  expect(await new RemoteUpload(all.node, all.agent).request(undefined)).toEqual({ body: { message: 'flag_set=true' } });
  expect(all.asked).toEqual(['w0', 'b0']);
  const broken = given({ w0: done, w1: away });
  await expect(new RemoteUpload(broken.node, broken.agent).request(undefined)).rejects.toMatchObject({ code: 'UPSTREAM_TIMEOUT' });
  const off = given({ w0: { status: 503, body: { error: { code: 'CAPABILITY_MISSING', message: 'set remote.url' } } } });
  await expect(new RemoteUpload(off.node, off.agent).request(undefined)).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
  await expect(new RemoteUpload(given({}).node, off.agent).request(undefined)).rejects.toMatchObject({ code: 'NO_TARGET' });
});

test('of a named node it is asked alone, and in the wrong mode answered as the original does', async () => {
  const done = { status: 200, body: {} };
  const { node, agent, asked } = given({ w0: done, w1: done, c0: done }, [record('w0'), record('w1'), record('c0', 'Compute')]);
  const upload = new RemoteUpload(node, agent);
  await upload.request('w1');
  expect(await upload.request('c0')).toEqual({ body: { message: 'can not sync remote store, disagg_mode=Compute' }, wrongMode: 'Compute' });
  await expect(upload.request('nobody')).rejects.toMatchObject({ code: 'UNKNOWN_NODE' });
  expect(asked).toEqual(['w1']);
});
