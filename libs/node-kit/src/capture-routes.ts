import { BinnacleError } from '@binnacle/contracts/errors';
import { CapabilityMissing, NotActivated, OutOfDisk, ProfilerBusy } from '@binnacle/profiler/capture-errors';
// From now on, or a profile would not know the CPU time of worker threads that began before the first capture.
import '@binnacle/profiler/known-workers';
import { ArrayMaxSize, IsArray, IsBoolean, IsIn, IsInt, IsNumber, IsOptional, Matches, Max, Min } from 'class-validator';
import type { FastifyInstance } from 'fastify';
import { untilClientGone } from './client-gone.js';
import type { Node } from './node.js';
import { validBody } from './valid-body.js';

/** Of one request: with the names of C++ functions the answer stays under what an agent's answer may be. */
export const symbolAddressesMax = 10_000;

class CpuBody {
  @IsNumber() @Min(0.1) @Max(600) seconds!: number;
  @IsInt() @Min(1) @Max(1_000) frequencyHz!: number;
}

class HeapBody {
  /** 0 is the heap at this moment. */
  @IsNumber() @Min(0) @Max(600) seconds!: number;
}

class TraceBody {
  @IsNumber() @Min(0.1) @Max(120) seconds!: number;
}

class ProfActiveBody {
  @IsBoolean() active!: boolean;
  /** Absent: V8's heap and jemalloc's. */
  @IsOptional() @IsIn(['v8']) source?: 'v8';
}

class SymbolsBody {
  /** Hexadecimal, with or without 0x. */
  @IsArray() @ArrayMaxSize(symbolAddressesMax) @Matches(/^(0x)?[0-9a-f]{1,16}$/i, { each: true }) addresses!: string[];
}

/**
 * Captures of this process, for the profiling nodes. CONFLICT (409) while another capture of the kind runs, BAD_REQUEST (400) for what
 * has to be switched on first, CAPABILITY_MISSING (503), OUT_OF_DISK (507). A client that goes away cancels its capture, and so does the
 * end of the node, which waits for no ten minutes.
 *
 * Everything that captures is loaded by the first request that needs it: an idle agent costs its node nothing.
 */
export function addCaptureRoutes(app: FastifyInstance, node: Node): void {
  const stop = new AbortController();
  node.lifecycle.onChange((status) => {
    if (status === 'Stopping') stop.abort(new BinnacleError('NO_TARGET', `node ${node.id} stops`, { retryAfterS: 1 }));
  });
  const serve: Serve = (method, path, capture) => {
    app.route({
      method,
      url: `/agent/v1/${path}`,
      handler: async (request, reply) => {
        const signal = AbortSignal.any([stop.signal, untilClientGone(reply)]);
        return reply.send(await refusalsNamed(() => capture(request.body, signal)));
      },
    });
  };
  addTimedCaptures(serve);
  addMemoryRoutes(serve);
  serve('POST', 'symbols', async (body) => {
    const { addresses } = validBody(SymbolsBody, body);
    const { resolveSymbols } = await import('@binnacle/profiler/symbols');
    return { names: await resolveSymbols(addresses.map((address) => BigInt(/^0x/i.test(address) ? address : `0x${address}`))) };
  });
  serve('GET', 'cmdline', async () => {
    const [program = '', ...rest] = process.argv;
    return { cmdline: [program, ...process.execArgv, ...rest].map(node.maskSecrets) };
  });
}

/** The result is the answer: bytes as they are, anything else as JSON. */
type Serve = (method: 'GET' | 'POST' | 'PUT', path: string, capture: (body: unknown, signal: AbortSignal) => Promise<unknown>) => void;

function addTimedCaptures(serve: Serve): void {
  serve('POST', 'capture/cpu', async (body, signal) => {
    const { seconds, frequencyHz } = validBody(CpuBody, body);
    const { captureCpuProfile } = await import('@binnacle/profiler/cpu-profile');
    return captureCpuProfile({ seconds, frequencyHz, signal });
  });
  serve('POST', 'capture/v8-heap', async (body, signal) => {
    const { seconds } = validBody(HeapBody, body);
    const { captureV8Heap } = await import('@binnacle/profiler/v8-heap');
    return captureV8Heap({ seconds, signal });
  });
  serve('POST', 'capture/trace', async (body, signal) => {
    const { seconds } = validBody(TraceBody, body);
    const { captureTrace } = await import('@binnacle/profiler/trace');
    return captureTrace({ seconds, signal });
  });
}

function addMemoryRoutes(serve: Serve): void {
  serve('POST', 'capture/native-heap', async () => {
    const { dumpNativeHeap } = await import('@binnacle/profiler/native-heap');
    return dumpNativeHeap();
  });
  serve('PUT', 'prof-active', async (body) => {
    const { active, source } = validBody(ProfActiveBody, body);
    const [jemalloc, v8] = await Promise.all([import('@binnacle/profiler/jemalloc'), import('@binnacle/profiler/v8-heap')]);
    // All or nothing: without jemalloc V8's sampling is not started either.
    const native = source === 'v8' ? undefined : active ? jemalloc.requireProfilingJemalloc() : jemalloc.openJemalloc();
    if (active) v8.startV8HeapSampling();
    else v8.stopV8HeapSampling();
    if (native?.canProfile()) native.setProfActive(active);
    return { active };
  });
  serve('POST', 'purge', async (_body, signal) => {
    const { purgeMemory } = await import('@binnacle/profiler/memory-purge');
    return purgeMemory(signal);
  });
  serve('GET', 'memory-status', async () => {
    const { requireJemalloc } = await import('@binnacle/profiler/jemalloc');
    return Buffer.from(requireJemalloc().statisticsJson());
  });
}

async function refusalsNamed<T>(capture: () => Promise<T>): Promise<T> {
  try {
    return await capture();
  } catch (error) {
    if (error instanceof ProfilerBusy) throw new BinnacleError('CONFLICT', error.message, { cause: error });
    if (error instanceof NotActivated) throw new BinnacleError('BAD_REQUEST', error.message, { cause: error });
    if (error instanceof CapabilityMissing) throw new BinnacleError('CAPABILITY_MISSING', error.message, { cause: error });
    if (error instanceof OutOfDisk) throw new BinnacleError('OUT_OF_DISK', error.message, { cause: error });
    throw error;
  }
}
