import type { Lease } from '@binnacle/cluster-state/cluster-state';
import { WatchedDocument } from '@binnacle/cluster-state/watched-document';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import type { TrafficJob } from './traffic-job.js';

/** Held while a capture or a replay runs: one of them at a time in the cluster. */
export const trafficLease = 'proxy-traffic';

const documentKey = 'proxy-traffic-jobs';
/** As many as TiProxy shows. With at most 100 parts and notes a job is some 30 KB at the worst. */
const jobsMax = 10;

/** The last captures and replays of all proxies, oldest first, in cluster state: they outlive the node that ran them. */
export class JobList {
  readonly #document: WatchedDocument<readonly TrafficJob[]>;

  constructor(private readonly node: NodeContext) {
    this.#document = new WatchedDocument<readonly TrafficJob[]>(node.state, node.clock, {
      key: documentKey,
      initial: [],
      parse: parseJobs,
      onInvalid: (error) => node.log.error({ err: error }, 'the list of traffic jobs in cluster state is damaged; the last good one stays'),
    });
  }

  start(): Promise<void> {
    return this.#document.start();
  }

  stop(): void {
    this.#document.stop();
  }

  /** Adds a job or puts it in the place of what is kept of it; the oldest are forgotten. Throws what cluster state throws. */
  async put(job: TrafficJob): Promise<void> {
    await this.#document.update((jobs) => {
      const others = jobs.filter(({ id }) => id !== job.id);
      const index = jobs.findIndex(({ id }) => id === job.id);
      return index < 0 ? [...others, job].slice(-jobsMax) : others.toSpliced(index, 0, job);
    });
  }

  /** Throws what cluster state throws. */
  async remove(id: string): Promise<void> {
    await this.#document.update((jobs) => jobs.filter((job) => job.id !== id));
  }

  /** All of them as of now; those whose node has died meanwhile are failed, and kept as that. Throws what cluster state throws. */
  async settled(): Promise<readonly TrafficJob[]> {
    const { state, clock, log } = this.node;
    // Asked before and after: a job that begins or ends meanwhile has its runner at one of the two.
    const before = await state.lease(trafficLease);
    const { document } = await state.readDocument(documentKey);
    const jobs = document === undefined ? [] : this.#parsed(document.value);
    const isLost = (job: TrafficJob, lease: Lease | undefined): boolean => isOrphan(job, lease, this.node);
    if (!jobs.some((job) => isLost(job, before))) return jobs;
    const after = await state.lease(trafficLease);
    const lost = new Set(jobs.filter((job) => isLost(job, before) && isLost(job, after)).map((job) => job.id));
    if (lost.size === 0) return jobs;
    log.warn({ jobs: [...lost] }, 'the proxy node that ran a traffic job ended while it ran');
    return this.#document.update((current) => current.map((job) => (lost.has(job.id) && job.state === 'running' ? orphaned(job, clock.nowMs()) : job)));
  }

  /** What is damaged counts for as much as it does everywhere else: the last good one. */
  #parsed(text: string): readonly TrafficJob[] {
    try {
      return parseJobs(text);
    } catch {
      return this.#document.value();
    }
  }
}

/** A running job without its runner. A runner ends the list's entry before it lets go of the lease. */
function isOrphan(job: TrafficJob, lease: Lease | undefined, self: Pick<NodeContext, 'id' | 'incarnation'>): boolean {
  if (job.state !== 'running') return false;
  if (job.node === self.id) return job.incarnation !== self.incarnation;
  return lease?.owner?.incarnation !== job.incarnation;
}

function orphaned(job: TrafficJob, nowMs: number): TrafficJob {
  const rest = job.type === 'capture' ? 'what had been written by then can be replayed' : 'there is no report of it';
  return { ...job, state: 'failed', endedAtMs: nowMs, error: `proxy node ${job.node} died, or lost the cluster state, while it ran: ${rest}` };
}

function parseJobs(text: string): readonly TrafficJob[] {
  const jobs: unknown = JSON.parse(text);
  const isJob = (job: unknown): boolean => {
    const { id, type, state, node, startedAtMs } = (job ?? {}) as Partial<TrafficJob>;
    return typeof id === 'string' && (type === 'capture' || type === 'replay') && typeof state === 'string' && typeof node === 'string' && typeof startedAtMs === 'number';
  };
  if (!Array.isArray(jobs) || !jobs.every(isJob)) throw new Error('the document is no list of traffic jobs');
  return jobs as TrafficJob[];
}
