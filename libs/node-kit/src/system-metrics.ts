import { readFileSync } from 'node:fs';
import { getHeapStatistics } from 'node:v8';
import { type JemallocStatistics, openJemalloc } from '@binnacle/profiler/jemalloc';
import type { MachineSampler } from './machine-sampler.js';

/**
 * `/metrics.json` in Typesense's form: flat, every value a string, percentages and ratios with two decimals. Figures that the platform
 * does not offer are left out rather than made up.
 */
export function systemMetrics(machine: MachineSampler): Record<string, string> {
  const metrics: Record<string, string> = {};
  const byCore = machine.activePercentByCore();
  for (const [core, percent] of byCore) metrics[`system_cpu${core + 1}_active_percentage`] = percent.toFixed(2);
  const sum = [...byCore.values()].reduce((total, percent) => total + percent, 0);
  metrics.system_cpu_active_percentage = (byCore.size === 0 ? 0 : sum / byCore.size).toFixed(2);
  const reading = machine.latest();
  if (reading) {
    metrics.system_disk_total_bytes = String(reading.disk.totalBytes);
    metrics.system_disk_used_bytes = String(reading.disk.usedBytes);
    metrics.system_memory_total_bytes = String(reading.memory.totalBytes);
    metrics.system_memory_used_bytes = String(reading.memory.totalBytes - reading.memory.availableBytes);
  }
  if (reading?.swap) {
    metrics.system_memory_total_swap_bytes = String(reading.swap.totalBytes);
    metrics.system_memory_used_swap_bytes = String(reading.swap.usedBytes);
  }
  if (reading?.network) {
    metrics.system_network_received_bytes = String(reading.network.receivedBytes);
    metrics.system_network_sent_bytes = String(reading.network.sentBytes);
  }
  const memory = processMemory();
  metrics.typesense_memory_active_bytes = String(memory.active);
  metrics.typesense_memory_allocated_bytes = String(memory.allocated);
  metrics.typesense_memory_fragmentation_ratio = fragmentationRatio(memory.allocated, memory.active).toFixed(2);
  metrics.typesense_memory_mapped_bytes = String(memory.mapped);
  metrics.typesense_memory_metadata_bytes = String(memory.metadata);
  metrics.typesense_memory_resident_bytes = String(memory.resident);
  metrics.typesense_memory_retained_bytes = String(memory.retained);
  return metrics;
}

/** As Typesense computes it: the share of the pages in use that holds no data. */
export function fragmentationRatio(allocatedBytes: number, activeBytes: number): number {
  return activeBytes === 0 ? 0 : Math.max(0, 1 - allocatedBytes / activeBytes);
}

export interface ProcessMemory extends JemallocStatistics {
  readonly source: 'jemalloc' | 'v8';
}

/** Bytes. Of the native allocator where jemalloc is preloaded, else of V8, under the nearest meaning that V8 has for each word. */
export function processMemory(): ProcessMemory {
  const jemalloc = openJemalloc();
  if (jemalloc) return { source: 'jemalloc', ...jemalloc.statistics() };
  const heap = getHeapStatistics();
  const { rss, external } = process.memoryUsage();
  return {
    source: 'v8',
    allocated: heap.used_heap_size + external,
    active: heap.total_heap_size + external,
    metadata: heap.malloced_memory,
    resident: rss,
    mapped: virtualBytes() ?? rss,
    // Taken from the system for the heap and not in physical memory now.
    retained: Math.max(0, heap.total_heap_size - heap.total_physical_size),
  };
}

/** The address space of this process; undefined without /proc. */
function virtualBytes(): number | undefined {
  try {
    const kibibytes = /^VmSize:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch {
    return undefined;
  }
}
