import { setTimeout as delay } from 'node:timers/promises';
import { BinnacleError, type ErrorCode } from '@binnacle/contracts/errors';
import { AgentClient, type AgentRequest, type AgentTarget } from '@binnacle/node-kit/agent-client';
import { symbolAddressesMax } from '@binnacle/node-kit/capture-routes';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { type Admission, CaptureQueue } from './capture-queue.js';
import type { CapturedProfile, ProfileKind, WhenBusy } from './captured-profile.js';
import { Renderer } from './renderer.js';

export interface CpuOptions {
  readonly seconds: number;
  readonly frequencyHz: number;
  readonly whenBusy: WhenBusy;
}

export interface HeapOptions {
  /** 0 is the heap at this moment, for which sampling has to be on. */
  readonly seconds: number;
  readonly whenBusy: WhenBusy;
}

/** What `arena_purge` has done, in bytes. */
export interface PurgedMemory {
  readonly residentBeforeBytes: number;
  readonly residentAfterBytes: number;
  readonly releasedBytes: number;
}

const waitingMax = 8;
/** To start a capture, to encode it and to send it; over that the target is dead, stopped or out of reach. */
const answerMs = 15_000;
/** Twice what a node gives at the most: 128 MiB of heap dump, 64 MiB of trace. A CPU profile is seldom over 1 MiB. */
const answerBytesMax = 256 * 2 ** 20;
/** How often a target is asked again that another profiling node captures, and for how long: the longest capture. */
const busyRetryMs = 250;
const busyWaitMsMax = 600_000;

/** Of what an agent answers, the codes that are for our client; any other failure is the node's. */
const codesPassedOn: ReadonlySet<string> = new Set<ErrorCode>(['BAD_REQUEST', 'CONFLICT', 'CAPABILITY_MISSING', 'OUT_OF_DISK', 'NO_TARGET']);

interface Question extends Pick<AgentRequest, 'method' | 'path' | 'body'> {
  /** How long the node captures, in milliseconds. */
  readonly captureMs?: number;
}

/**
 * Captures of any node through its agent. Every method rejects with UNKNOWN_NODE, UPSTREAM_TIMEOUT, UPSTREAM_UNREACHABLE, with what the agent
 * refuses, and with the signal's reason once it is aborted, which ends the capture on the node too.
 */
@Injectable()
export class Captures {
  /** What takes a while: CPU profiles, traces, heaps over a time. */
  readonly #timed = new CaptureQueue(waitingMax);
  /** What is done in a moment, and need not wait for those. */
  readonly #instant = new CaptureQueue(waitingMax);
  readonly #stop = new AbortController();

  constructor(
    private readonly node: NodeContext,
    private readonly agent: AgentClient,
    private readonly renderer: Renderer,
  ) {
    // A node that stops waits for no ten minutes; its clients go to another profiling node.
    node.lifecycle.onChange((status) => {
      if (status === 'Stopping') this.#stop.abort(new BinnacleError('NO_TARGET', 'this profiling node stops', { retryAfterS: 1 }));
    });
  }

  cpu(nodeId: string, { seconds, frequencyHz, whenBusy }: CpuOptions, signal: AbortSignal): Promise<CapturedProfile> {
    return this.#profile('cpu', nodeId, { path: 'capture/cpu', seconds, body: { seconds, frequencyHz }, whenBusy }, signal);
  }

  /** V8's heap. */
  heap(nodeId: string, { seconds, whenBusy }: HeapOptions, signal: AbortSignal): Promise<CapturedProfile> {
    return this.#profile('heap', nodeId, { path: 'capture/v8-heap', seconds, body: { seconds }, whenBusy }, signal);
  }

  /** jemalloc's heap with the names of functions, as pprof. */
  async nativeHeap(nodeId: string, signal: AbortSignal): Promise<CapturedProfile> {
    const startedAtMs = this.node.clock.nowMs();
    const dump = await this.nativeHeapDump(nodeId, signal);
    const addresses = await this.renderer.addressesOf(dump);
    const names = await this.symbols(nodeId, addresses, signal);
    const pprof = await this.renderer.convertHeap(dump, addresses, names);
    return { node: nodeId, kind: 'native-heap', startedAtMs, durationMs: 0, pprof };
  }

  /** jemalloc's heap as it writes it: the text heap_v2. */
  nativeHeapDump(nodeId: string, signal: AbortSignal): Promise<Buffer> {
    return this.#queued(nodeId, { method: 'POST', path: 'capture/native-heap', body: {} }, 'wait', signal);
  }

  /** Chrome's trace format, JSON. */
  trace(nodeId: string, seconds: number, signal: AbortSignal): Promise<Buffer> {
    return this.#queued(nodeId, { method: 'POST', path: 'capture/trace', body: { seconds }, captureMs: seconds * 1_000 }, 'wait', signal);
  }

  /** Names of functions by address (hexadecimal), `??` for those without one. */
  async symbols(nodeId: string, addresses: readonly string[], signal: AbortSignal): Promise<string[]> {
    const names: string[] = [];
    for (let at = 0; at < addresses.length; at += symbolAddressesMax) {
      const body = { addresses: addresses.slice(at, at + symbolAddressesMax) };
      names.push(...(await this.#json<{ names: string[] }>(nodeId, { method: 'POST', path: 'symbols', body }, signal)).names);
    }
    return names;
  }

  /** `source` `v8` leaves jemalloc alone, which then need not be there. */
  async setProfActive(nodeId: string, active: boolean, source: 'v8' | undefined, signal: AbortSignal): Promise<void> {
    await this.#ask(nodeId, { method: 'PUT', path: 'prof-active', body: { active, source } }, signal);
  }

  async purge(nodeId: string, signal: AbortSignal): Promise<PurgedMemory> {
    return this.#json(nodeId, { method: 'POST', path: 'purge', body: {} }, signal);
  }

  /** jemalloc's statistics as it writes them: JSON. */
  memoryStatus(nodeId: string, signal: AbortSignal): Promise<Buffer> {
    return this.#ask(nodeId, { method: 'GET', path: 'memory-status' }, signal);
  }

  async commandLine(nodeId: string, signal: AbortSignal): Promise<string[]> {
    return (await this.#json<{ cmdline: string[] }>(nodeId, { method: 'GET', path: 'cmdline' }, signal)).cmdline;
  }

  async #profile(
    kind: ProfileKind,
    nodeId: string,
    { path, seconds, body, whenBusy }: { path: string; seconds: number; body: object; whenBusy: WhenBusy },
    signal: AbortSignal,
  ): Promise<CapturedProfile> {
    let startedAtMs = 0;
    const durationMs = Math.round(seconds * 1_000);
    const started = (): void => void (startedAtMs = this.node.clock.nowMs());
    const pprof = await this.#queued(nodeId, { method: 'POST', path, body, captureMs: durationMs }, whenBusy, signal, started);
    return { node: nodeId, kind, startedAtMs, durationMs, pprof };
  }

  #queued(nodeId: string, question: Question, whenBusy: WhenBusy, signal: AbortSignal, started = (): void => {}): Promise<Buffer> {
    const queue = question.captureMs ? this.#timed : this.#instant;
    return queue.run(nodeId, { whenBusy, signal }, (admission) => this.#askUntilFree(nodeId, question, admission, started));
  }

  /** Our queue knows of our captures only: another profiling node, or the service itself, may be at it. */
  async #askUntilFree(nodeId: string, question: Question, { whenBusy, signal }: Admission, started: () => void): Promise<Buffer> {
    const { clock } = this.node;
    const giveUpAtMs = clock.monotonicMs() + busyWaitMsMax;
    for (;;) {
      try {
        started();
        return await this.#ask(nodeId, question, signal);
      } catch (error) {
        if (!(error instanceof BinnacleError) || error.code !== 'CONFLICT') throw error;
        if (whenBusy !== 'wait') throw new BinnacleError('ALREADY_PROFILING', 'Already in Profiling', { cause: error });
        if (clock.monotonicMs() > giveUpAtMs) throw new BinnacleError('OVERLOADED', error.message, { cause: error, retryAfterS: 10 });
      }
      await delay(busyRetryMs, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }

  async #json<T>(nodeId: string, question: Question, signal: AbortSignal): Promise<T> {
    return JSON.parse((await this.#ask(nodeId, question, signal)).toString()) as T;
  }

  async #ask(nodeId: string, { method, path, body, captureMs = 0 }: Question, client: AbortSignal): Promise<Buffer> {
    const signal = AbortSignal.any([client, this.#stop.signal]);
    const timeoutMs = captureMs + answerMs;
    const request: AgentRequest = { method, path: `/agent/v1/${path}`, body, timeoutMs, signal };
    let answer: { status: number; bytes: Buffer };
    try {
      answer = await this.agent.requestBytes(this.#target(nodeId), request, answerBytesMax);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
    if (answer.status === 200) return answer.bytes;
    throw refusal(nodeId, answer);
  }

  #target(nodeId: string): AgentTarget {
    const { directory, id } = this.node;
    const known = directory.byId(nodeId);
    if (known !== undefined) return known;
    if (nodeId !== id) throw new BinnacleError('UNKNOWN_NODE', `there is no node ${nodeId}: GET /api/v1/cluster lists them`);
    // While cluster state has never been reached, a node is not even in its own registry.
    const { hostname, port } = new URL(`http://${this.node.candidate().address}`);
    return { id, host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
  }
}

function refusal(nodeId: string, { status, bytes }: { status: number; bytes: Buffer }): BinnacleError {
  const { code, message } = refusalIn(bytes);
  if (code !== undefined && codesPassedOn.has(code)) return new BinnacleError(code, `node ${nodeId}: ${message}`);
  return new BinnacleError('UPSTREAM_UNREACHABLE', `node ${nodeId} could not do it: its agent answered ${status}`);
}

function refusalIn(bytes: Buffer): { code?: ErrorCode; message?: string } {
  try {
    return (JSON.parse(bytes.toString()) as { error: { code: ErrorCode; message: string } }).error ?? {};
  } catch {
    return {};
  }
}
