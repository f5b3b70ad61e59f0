import { expect, test } from '@jest/globals';
import { readFileSync, statfsSync } from 'node:fs';
import { cpus } from 'node:os';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { parseMeminfo, parseNetwork } from './machine.js';
import { MachineSampler } from './machine-sampler.js';
import { fragmentationRatio, systemMetrics } from './system-metrics.js';

async function measured(): Promise<Record<string, string>> {
  const machine = new MachineSampler(new FakeClock(), '/');
  await machine.start();
  machine.stop();
  return systemMetrics(machine);
}

test("every key of Typesense's document is there, one per core, and every value is a string of digits", async () => {
  const metrics = await measured();
  const perCore = cpus().map((_, core) => `system_cpu${core + 1}_active_percentage`);
  const others = `system_cpu_active_percentage system_disk_total_bytes system_disk_used_bytes system_memory_total_bytes
    system_memory_used_bytes system_memory_total_swap_bytes system_memory_used_swap_bytes system_network_received_bytes
    system_network_sent_bytes typesense_memory_active_bytes typesense_memory_allocated_bytes typesense_memory_fragmentation_ratio
    typesense_memory_mapped_bytes typesense_memory_metadata_bytes typesense_memory_resident_bytes typesense_memory_retained_bytes`;
  expect(Object.keys(metrics).sort()).toEqual([...perCore, ...others.split(/\s+/)].sort());
  for (const [key, value] of Object.entries(metrics)) {
    expect([key, value]).toEqual([key, expect.stringMatching(/percentage|ratio/.test(key) ? /^\d+\.\d\d$/ : /^\d+$/)]);
  }
});

test('the figures are those of this machine', async () => {
  const metrics = await measured();
  const number = (key: string): number => Number(metrics[key]);
  const { memory, swap } = parseMeminfo(readFileSync('/proc/meminfo', 'utf8'));
  const network = parseNetwork(readFileSync('/proc/net/dev', 'utf8'));
  const disk = statfsSync('/');
  const tolerance = 512 * 1024 * 1024; // Others use the machine between the two readings.
  expect(number('system_memory_total_bytes')).toBe(memory.totalBytes);
  expect(Math.abs(number('system_memory_used_bytes') - (memory.totalBytes - memory.availableBytes))).toBeLessThan(tolerance);
  expect(number('system_memory_total_swap_bytes')).toBe(swap.totalBytes);
  expect(number('system_disk_total_bytes')).toBe(disk.blocks * disk.bsize);
  expect(Math.abs(number('system_disk_used_bytes') - (disk.blocks - disk.bfree) * disk.bsize)).toBeLessThan(tolerance);
  expect(Math.abs(number('system_network_received_bytes') - network.receivedBytes)).toBeLessThan(tolerance);
  const resident = Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
  expect(Math.abs(number('typesense_memory_resident_bytes') - resident)).toBeLessThan(resident / 2);
  expect(number('typesense_memory_mapped_bytes')).toBeGreaterThanOrEqual(number('typesense_memory_resident_bytes'));
});

test("the fragmentation ratio is Typesense's: the figures of its document give the ratio of its document", () => {
  expect(fragmentationRatio(27_886_840, 29_630_464).toFixed(2)).toBe('0.06');
  expect(fragmentationRatio(0, 0)).toBe(0);
});
