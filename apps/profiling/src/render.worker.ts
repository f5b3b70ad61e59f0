import { parentPort } from 'node:worker_threads';
import type { JobAnswer } from '@binnacle/node-kit/job-thread';
import { diffFlameGraph, flameGraph } from '@binnacle/profiler/flame-graph';
import { foldedStacks } from '@binnacle/profiler/folded-stacks';
import { addressesOf, heapV2ToProfile } from '@binnacle/profiler/heap-v2';
import { decodeProfile, encodeProfile } from '@binnacle/profiler/profile';
import { diffProfiles } from '@binnacle/profiler/profile-diff';
import { mergeProfiles } from '@binnacle/profiler/profile-merge';
import { topTable, topText } from '@binnacle/profiler/top-table';
import { treeJson } from '@binnacle/profiler/tree-json';
import type { RenderFormat, RenderJob, RenderResult } from './render-job.js';

/*
 * Reads and draws profiles, which come from other nodes and may be large: not on the thread that answers requests. One job at a time; the
 * other side sets the limits and ends this thread when one is reached.
 */

async function done(job: RenderJob): Promise<RenderResult> {
  switch (job.kind) {
    case 'render':
      return Buffer.from(rendered(job.pprof, job.format, job.title));
    case 'diff':
      if (job.format === 'svg') return Buffer.from(diffFlameGraph(job.base, job.other, { title: job.title }));
      return encodeProfile(diffProfiles(decodeProfile(job.base), decodeProfile(job.other)));
    case 'merge': {
      const merged = mergeProfiles(job.parts.map(({ node, pprof }) => ({ profile: decodeProfile(pprof), labels: { node } })));
      merged.comment = job.comments.map((comment) => merged.stringTable.dedup(comment));
      return encodeProfile(merged);
    }
    case 'addresses':
      return addressesOf(textOf(job.dump)).map((address) => address.toString(16));
    case 'convert': {
      const nameOf = new Map(job.addresses.map((address, index) => [BigInt(`0x${address}`), job.names[index]]));
      return encodeProfile(heapV2ToProfile(textOf(job.dump), (address) => nameOf.get(address) ?? '??'));
    }
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

function rendered(pprof: Uint8Array, format: RenderFormat, title: string): string {
  switch (format) {
    case 'svg':
      return flameGraph(pprof, { title });
    case 'collapsed':
      return foldedStacks(pprof);
    case 'json':
      return treeJson(pprof, title);
    case 'top':
      return JSON.stringify(topTable(pprof));
    case 'text':
      return topText(topTable(pprof));
  }
}

parentPort?.on('message', (job: RenderJob) => {
  done(job).then(
    (result) => answer({ result }),
    (error: unknown) => answer({ failure: error instanceof Error ? error.message : String(error) }),
  );
});

function answer(message: JobAnswer<RenderResult>): void {
  parentPort?.postMessage(message);
}
