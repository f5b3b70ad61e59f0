import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { parseCpuTimes, parseMeminfo, parseNetwork, readMachine } from './machine.js';
import { activePercent } from './machine-sampler.js';

test('of the times of a core, idle and waiting for the disk are not busy, and guest time is not counted twice', () => {
  const stat = 'cpu  80 0 40 260 20 0 0 0 0 0\ncpu0 40 0 20 130 10 0 0 0 0 0\ncpu12 50 10 20 100 20 3 4 5 50 6\nintr 1 2\n';
  expect(parseCpuTimes(stat)).toEqual([
    { core: 0, busy: 60, total: 200 },
    { core: 12, busy: 92, total: 212 },
  ]);
});

test('used swap is what is not free; memory is in bytes', () => {
  const text = 'MemTotal:       2048 kB\nMemFree: 1 kB\nMemAvailable:    1024 kB\nSwapTotal:      100 kB\nSwapFree:        40 kB\n';
  expect(parseMeminfo(text)).toEqual({
    memory: { totalBytes: 2_097_152, availableBytes: 1_048_576 },
    swap: { totalBytes: 102_400, usedBytes: 61_440 },
  });
});

test('traffic of all interfaces but loopback is summed, also where a number follows the colon at once', () => {
  const text = `Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  eth0:1000   13894    0    0    0     0          0         0  200    9280    0    0    0     0       0          0
  eth1: 10       1    0    0    0     0          0         0  2    1    0    0    0     0       0          0
`;
  expect(parseNetwork(text)).toEqual({ receivedBytes: 1010, sentBytes: 202 });
});

test('the share of a core is that of the time between two readings; a core that just came counts since boot', () => {
  const before = [{ core: 0, busy: 100, total: 1000 }];
  const after = [
    { core: 0, busy: 150, total: 1200 },
    { core: 1, busy: 10, total: 100 },
  ];
  expect([...activePercent(before, after)]).toEqual([
    [0, 25],
    [1, 10],
  ]);
  expect(activePercent(after, after).get(0)).toBe(0);
});

test('the reading of this machine agrees with the kernel', async () => {
  const reading = await readMachine('/');
  const meminfo = readFileSync('/proc/meminfo', 'utf8');
  expect(reading.cores).toHaveLength(cpus().length);
  expect(reading.memory.totalBytes).toBe(totalmem());
  expect(Math.abs(reading.memory.availableBytes - parseMeminfo(meminfo).memory.availableBytes)).toBeLessThan(512 * 1024 * 1024);
  expect(reading.disk.usedBytes).toBeLessThan(reading.disk.totalBytes);
  expect(reading.disk.availableBytes).toBeGreaterThan(0);
  expect(reading.network?.receivedBytes).toBeGreaterThanOrEqual(0);
});

test('a data folder that is gone is an error, not a disk of size 0', async () => {
  await expect(readMachine('/nowhere/at/all')).rejects.toThrow(/ENOENT/);
});
