import { readFile, statfs } from 'node:fs/promises';
import { cpus, freemem, totalmem } from 'node:os';
import { cgroupMemory } from './cgroup-memory.js';

/** Time units spent since boot; the unit does not matter, only shares are computed. */
export interface CpuTimes {
  /** 0 is the first core. */
  readonly core: number;
  readonly busy: number;
  readonly total: number;
}

export interface MachineReading {
  readonly cores: readonly CpuTimes[];
  /** Of the machine. */
  readonly memory: { readonly totalBytes: number; readonly availableBytes: number };
  /** Of the control group this process runs in, when it has a limit. */
  readonly memoryLimit: { readonly limitBytes: number; readonly availableBytes: number } | undefined;
  /** Undefined where the platform does not say. */
  readonly swap: { readonly totalBytes: number; readonly usedBytes: number } | undefined;
  /** All interfaces but loopback, since boot. Undefined where the platform does not say. */
  readonly network: { readonly receivedBytes: number; readonly sentBytes: number } | undefined;
  /** The file system under the data folder; `availableBytes` is what an unprivileged process may still write. */
  readonly disk: { readonly totalBytes: number; readonly usedBytes: number; readonly availableBytes: number };
}

const kib = 1024;

/** `cpu0 4316 0 2028 255604 290 0 67 8 0 0`: user nice system idle iowait irq softirq steal; guest time is within user already. */
export function parseCpuTimes(procStat: string): CpuTimes[] {
  const cores: CpuTimes[] = [];
  for (const match of procStat.matchAll(/^cpu(\d+) (.*)$/gm)) {
    const times = (match[2] as string).trim().split(/\s+/).slice(0, 8).map(Number);
    const total = times.reduce((sum, time) => sum + time, 0);
    const idle = (times[3] ?? 0) + (times[4] ?? 0);
    cores.push({ core: Number(match[1]), busy: total - idle, total });
  }
  return cores;
}

/** The `Name: N kB` lines of /proc/meminfo in bytes. */
export function parseMeminfo(text: string): { memory: MachineReading['memory']; swap: NonNullable<MachineReading['swap']> } {
  const bytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0) * kib;
  const swapTotal = bytes('SwapTotal');
  return {
    memory: { totalBytes: bytes('MemTotal'), availableBytes: bytes('MemAvailable') },
    swap: { totalBytes: swapTotal, usedBytes: swapTotal - bytes('SwapFree') },
  };
}

/** Sums /proc/net/dev over every interface but `lo`. */
export function parseNetwork(text: string): NonNullable<MachineReading['network']> {
  let receivedBytes = 0;
  let sentBytes = 0;
  for (const match of text.matchAll(/^\s*([^\s:]+):\s*(.*)$/gm)) {
    if (match[1] === 'lo') continue;
    const columns = (match[2] as string).trim().split(/\s+/).map(Number);
    receivedBytes += columns[0] ?? 0;
    sentBytes += columns[8] ?? 0;
  }
  return { receivedBytes, sentBytes };
}

/** Reads everything once. Rejects when the data folder is gone. */
export async function readMachine(dataDir: string): Promise<MachineReading> {
  const [stat, meminfo, net, disk] = await Promise.all([
    readProc('/proc/stat'),
    readProc('/proc/meminfo'),
    readProc('/proc/net/dev'),
    statfs(dataDir),
  ]);
  const { memory, swap } = meminfo === undefined ? { memory: memoryWithoutProc(), swap: undefined } : parseMeminfo(meminfo);
  return {
    cores: stat === undefined ? coresWithoutProc() : parseCpuTimes(stat),
    memory,
    memoryLimit: await cgroupMemory(),
    swap,
    network: net === undefined ? undefined : parseNetwork(net),
    disk: {
      totalBytes: disk.blocks * disk.bsize,
      usedBytes: (disk.blocks - disk.bfree) * disk.bsize,
      availableBytes: disk.bavail * disk.bsize,
    },
  };
}

/** Undefined on platforms without /proc. */
async function readProc(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch(() => undefined);
}

function coresWithoutProc(): CpuTimes[] {
  return cpus().map(({ times }, core) => {
    const total = Object.values(times).reduce((sum, time) => sum + time, 0);
    return { core, busy: total - times.idle, total };
  });
}

function memoryWithoutProc(): MachineReading['memory'] {
  return { totalBytes: totalmem(), availableBytes: freemem() };
}
