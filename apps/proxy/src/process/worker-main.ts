import { systemClock } from '@binnacle/cluster-state/clock';
import { createLog, secretMasker } from '@binnacle/node-kit/log';
import { ProxyMetrics } from '../metrics/proxy-metrics.js';
import { ProxySettings } from '../settings/proxy-settings.js';
import { MessagePeer } from './message-peer.js';
import { SessionWorker } from './session-worker.js';
import type { NodeQuestions, WorkerOrder, WorkerQuestions, WorkerReport, WorkerSetup } from './worker-protocol.js';

/*
 * A process that holds sessions, forked by a node with `proxy.workers` above 1. It does what its node tells it, and ends with it: when the channel to it
 * closes, node:cluster ends the process. Signals of a terminal go to every process of the group; here they mean nothing, the node is told and tells us.
 */

const askDeadlineMs = 10_000;

let worker: SessionWorker | undefined;

const peer: MessagePeer<NodeQuestions> = new MessagePeer(
  (message) => void process.send?.(message, undefined, undefined, () => {}),
  {
    told: (body) => worker?.order(body as WorkerOrder),
    asked: (kind, body) => {
      if (kind === 'start') worker ??= makeWorker(body as WorkerSetup);
      if (worker === undefined) return Promise.reject(new Error('this worker was not started'));
      return worker.answer(kind as keyof WorkerQuestions, body as WorkerQuestions[keyof WorkerQuestions]['ask']);
    },
  },
  systemClock,
);

function makeWorker(setup: WorkerSetup): SessionWorker {
  const log = createLog(setup.log, secretMasker(setup.secrets)).child({ nodeId: setup.nodeId, worker: setup.number });
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'an error nobody handled: the worker ends, its node starts another one');
    process.exit(1);
  });
  const settings = new ProxySettings(setup.settings);
  return new SessionWorker(
    {
      clock: systemClock,
      log,
      settings,
      metrics: new ProxyMetrics(systemClock, log, settings),
      uplink: { report: (report: WorkerReport) => peer.tell(report), ask: (kind, body) => peer.ask(kind, body, askDeadlineMs) },
    },
    setup,
  );
}

process.on('message', (message) => peer.received(message));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
