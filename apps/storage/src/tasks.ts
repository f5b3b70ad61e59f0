import { randomUUID } from 'node:crypto';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { EventLog } from '@binnacle/node-kit/event-log';
import type { NodeContext } from '@binnacle/node-kit/node-context';

/** What a node may be busy with for longer than a request should take. */
export type TaskKind = 'snapshot' | 'compaction' | 'index-rebuild';

export interface TaskProgress {
  readonly done: number;
  /** Absent while nobody knows. */
  readonly total?: number;
  readonly unit: 'bytes' | 'rows' | 'files';
}

/** A long operation, as `GET /api/v1/tasks` shows it. */
export interface Task {
  readonly id: string;
  readonly kind: TaskKind;
  /** What it is about: a path, a table. */
  readonly subject: string;
  readonly state: 'running' | 'done' | 'failed';
  /** ISO 8601, as every time here. */
  readonly startedAt: string;
  readonly endedAt?: string;
  readonly progress?: TaskProgress;
  /** What it came to, by name: bytes before and after, the version of a snapshot. */
  readonly result?: Readonly<Record<string, number | string>>;
  /** Why it failed. */
  readonly error?: string;
}

/** `task` is the task as it is then. */
export interface TaskChange {
  readonly type: 'task-started' | 'task-progressed' | 'task-ended';
  readonly task: Task;
}

export interface RunningTask {
  /** May be called as often as one likes. */
  progress(progress: TaskProgress): void;
  /** Shown when the task has ended well. */
  result(result: Readonly<Record<string, number | string>>): void;
}

/** About 500 bytes each. */
const endedTasksMax = 100;
/** Progress goes out to clients this often at most. */
const progressIntervalMs = 250;

/** The long operations of this node: those that run, and the last that ended. */
export class Tasks {
  readonly #running = new Map<string, Task>();
  readonly #ended: Task[] = [];

  constructor(
    private readonly node: NodeContext,
    private readonly log: EventLog<TaskChange>,
  ) {}

  /** Running ones first, then those that ended, the latest first. */
  all(): Task[] {
    return [...this.#running.values(), ...this.#ended.toReversed()];
  }

  /** Settles as `work` does; until then the task runs. */
  async run<T>(kind: TaskKind, subject: string, work: (task: RunningTask) => Promise<T>): Promise<T> {
    const id = randomUUID();
    this.#set({ id, kind, subject, state: 'running', startedAt: this.#now() }, 'task-started');
    let result: Task['result'];
    try {
      const value = await work({ progress: this.#progressOf(id), result: (figures) => (result = figures) });
      this.#end(id, { state: 'done', ...(result && { result }) });
      return value;
    } catch (error) {
      this.#end(id, { state: 'failed', error: error instanceof BinnacleError ? error.message : 'internal error: the log of the node has the reason' });
      throw error;
    }
  }

  #progressOf(id: string): (progress: TaskProgress) => void {
    let toldAtMs = Number.NEGATIVE_INFINITY;
    return (progress) => {
      const task = this.#running.get(id);
      if (task === undefined) return;
      this.#running.set(id, { ...task, progress });
      const nowMs = this.node.clock.monotonicMs();
      if (nowMs - toldAtMs < progressIntervalMs) return;
      toldAtMs = nowMs;
      this.log.append({ type: 'task-progressed', task: { ...task, progress } });
    };
  }

  #set(task: Task, type: TaskChange['type']): void {
    this.#running.set(task.id, task);
    this.log.append({ type, task });
  }

  #end(id: string, outcome: Pick<Task, 'state' | 'result' | 'error'>): void {
    const task: Task = { ...(this.#running.get(id) as Task), ...outcome, endedAt: this.#now() };
    this.#running.delete(id);
    this.#ended.push(task);
    if (this.#ended.length > endedTasksMax) this.#ended.shift();
    this.log.append({ type: 'task-ended', task });
  }

  #now(): string {
    return new Date(this.node.clock.nowMs()).toISOString();
  }
}
