import { Counter, Gauge, type Registry } from 'prom-client';
import type { TrafficJob } from './traffic-job.js';

/** What `/metrics` says of captures and replays that this node runs: of a capture, the sum over all proxy nodes. */
export class TrafficMetrics {
  readonly #jobs: Counter<'type' | 'state'>;

  constructor(registry: Registry, current: () => TrafficJob | undefined) {
    const registers = [registry];
    this.#jobs = new Counter({ name: 'binnacle_proxy_traffic_jobs_total', help: 'Captures and replays that this node ran, by how they ended; `started` when they began.', labelNames: ['type', 'state'], registers });
    const gauge = (name: string, help: string, read: (job: TrafficJob) => number): void => {
      new Gauge({
        name: `binnacle_proxy_traffic_${name}`,
        help: `${help} 0 while this node runs none.`,
        registers,
        collect() {
          const job = current();
          this.set(job === undefined ? 0 : read(job));
        },
      });
    };
    gauge('running', 'Captures and replays that this node runs now.', () => 1);
    gauge('progress_ratio', 'How far the capture or replay is, 0 to 1.', ({ progress }) => progress / 100);
    gauge('captured_commands', 'Commands that the running capture has taken in.', (job) => (job.type === 'capture' ? job.captured.commands : 0));
    gauge('captured_bytes', 'Bytes that the running capture has taken in, before compression.', (job) => (job.type === 'capture' ? job.captured.bytes : 0));
    gauge('left_out_commands', 'Commands that the running capture has left out, because of secrets in them or because they cannot be replayed.', (job) =>
      job.type === 'capture' ? Object.values(job.captured.leftOut).reduce((sum, count) => sum + count, 0) : 0,
    );
    gauge('replayed_commands', 'Commands that the running replay has sent.', (job) => (job.type === 'replay' ? job.replayed.sent : 0));
    gauge('replay_different_commands', 'Commands of the running replay whose result differs from the captured one.', (job) => (job.type === 'replay' ? job.replayed.different : 0));
    gauge('replay_lag_seconds', 'How far the running replay is behind its plan.', (job) => (job.type === 'replay' ? job.replayed.lagMs / 1_000 : 0));
  }

  began(type: TrafficJob['type']): void {
    this.#jobs.inc({ type, state: 'started' });
  }

  ended({ type, state }: TrafficJob): void {
    this.#jobs.inc({ type, state });
  }
}
