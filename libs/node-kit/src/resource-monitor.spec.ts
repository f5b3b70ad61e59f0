import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { HealthConfig } from './config.js';
import type { MachineReading } from './machine.js';
import { MachineSampler } from './machine-sampler.js';
import { ResourceMonitor } from './resource-monitor.js';
import { selfChecks } from './self-checks.js';

const healthy: MachineReading = {
  cores: [{ core: 0, busy: 10, total: 100 }],
  memory: { totalBytes: 1000, availableBytes: 500 },
  memoryLimit: undefined,
  swap: undefined,
  network: undefined,
  disk: { totalBytes: 1000, usedBytes: 600, availableBytes: 400 },
};

async function monitored(readings: (MachineReading | Error)[]) {
  const clock = new FakeClock();
  const machine = new MachineSampler(clock, '/', async () => {
    const next = readings.length > 1 ? readings.shift() : readings[0];
    if (next instanceof Error) throw next;
    return next as MachineReading;
  });
  await machine.start();
  const limits = new HealthConfig();
  const resources = new ResourceMonitor(clock, machine, limits);
  const checks = selfChecks(resources, machine, limits, clock);
  const check = async (name: string) => checks.find((each) => each.name === name)?.run();
  return { clock, machine, resources, check };
}

test('with enough of everything there is no resource error and every check is ok', async () => {
  const { resources, check } = await monitored([healthy]);
  expect(resources.resourceError()).toBeUndefined();
  expect(await check('memory')).toMatchObject({ ok: true, detail: '50.0 % free, at least 3 % wanted' });
  expect(await check('disk')).toMatchObject({ ok: true });
  expect(await check('event-loop')).toMatchObject({ ok: true });
});

test('a disk or a memory below its share is named, and seen with the next reading', async () => {
  const noMemory = { ...healthy, memory: { totalBytes: 1000, availableBytes: 29 } };
  const neither = { ...noMemory, disk: { totalBytes: 1000, usedBytes: 960, availableBytes: 49 } };
  const { clock, resources, check } = await monitored([healthy, noMemory, neither]);
  await clock.advance(2_000);
  expect(resources.resourceError()).toBe('OUT_OF_MEMORY');
  expect(await check('memory')).toMatchObject({ ok: false, detail: '2.9 % free, at least 3 % wanted' });
  await clock.advance(2_000);
  expect(resources.resourceError()).toBe('OUT_OF_DISK');
  expect(await check('disk')).toMatchObject({ ok: false });
});

test("the control group's limit counts when it is the shorter one", async () => {
  const { resources } = await monitored([{ ...healthy, memoryLimit: { limitBytes: 100, availableBytes: 2 } }]);
  expect(resources.memoryFreePercent()).toBe(2);
  expect(resources.resourceError()).toBe('OUT_OF_MEMORY');
});

test('a data folder that cannot be read fails the disk check with the reason, and the last figures stay', async () => {
  const { clock, machine, check } = await monitored([healthy, new Error('ENOENT: no such file or directory')]);
  await clock.advance(2_000);
  expect(await check('disk')).toMatchObject({ ok: false, detail: 'ENOENT: no such file or directory' });
  expect(machine.latest()).toBe(healthy);
});

test('sampling ends with the node', async () => {
  const { clock, machine } = await monitored([healthy]);
  machine.stop();
  expect(clock.timerCount()).toBe(0);
});

test('a blocked event loop shows in its delay, and is forgotten after the window', async () => {
  const { clock, machine, resources } = await monitored([healthy]);
  resources.start();
  const block = (): boolean => {
    const until = performance.now() + 400;
    while (performance.now() < until);
    return resources.eventLoopDelayMs() > 300;
  };
  // Again, should something else have kept this process from its turn just then.
  await waitUntil(async () => {
    await waitUntil(block, { what: 'the delay is seen' });
    await clock.advance(10_000);
    return resources.eventLoopDelayMs() < 300;
  }, { what: 'the delay is forgotten' });
  resources.stop();
  machine.stop();
  expect(clock.timerCount()).toBe(0);
});
