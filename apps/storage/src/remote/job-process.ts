import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { JobWorker } from '@binnacle/node-kit/job-thread';

/**
 * A process that works on jobs as a thread would. DuckDB aborts the whole process when a thread that uses it is ended while a query runs; a process of its
 * own can be killed at any time, and takes nothing with it when it runs out of memory. The file ends its process when the channel to this one closes.
 */
export function startJobProcess(file: URL, heapMegabytesMax: number): JobWorker {
  const child = fork(fileURLToPath(file), [], { serialization: 'advanced', execArgv: [`--max-old-space-size=${heapMegabytesMax}`], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  return {
    postMessage: (job) => void child.send(job as object),
    on: (event, listener) => child.on(event, listener),
    once: (event, listener) => child.once(event, listener),
    unref: () => {
      child.unref();
      child.channel?.unref();
    },
    terminate: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}
