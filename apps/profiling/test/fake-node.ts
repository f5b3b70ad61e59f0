import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeRecord, ResourceError } from '@binnacle/cluster-state/cluster-state';
import { NodeConfig } from '@binnacle/node-kit/config';
import type { NodeContext, NodePart } from '@binnacle/node-kit/node-context';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { pino } from 'pino';
import { Registry } from 'prom-client';

/** What the parts of this app ask of their node: a folder of its own, a fake clock, and a log that tests read. */
export class FakeNode {
  readonly id: string;
  readonly config = new NodeConfig();
  readonly clock: FakeClock;
  readonly metrics = new Registry();
  readonly logged: { level: number; msg: string; [key: string]: unknown }[] = [];
  readonly log = pino({}, { write: (line: string) => void this.logged.push(JSON.parse(line) as (typeof this.logged)[number]) });
  readonly parts: NodePart[] = [];
  readonly nodes: NodeRecord[] = [];
  readonly candidacies = new Map();
  readonly directory = { all: () => this.nodes, byRole: (role: string) => this.nodes.filter(({ roles }) => roles.includes(role)) };
  resourceError: ResourceError | undefined;
  readonly resources = { resourceError: () => this.resourceError };

  constructor(id = 'p0', clock = new FakeClock()) {
    this.id = id;
    this.clock = clock;
    this.config.dataDir = mkdtempSync(join(tmpdir(), 'binnacle-profiling-'));
  }

  get context(): NodeContext {
    return this as unknown as NodeContext;
  }

  addPart(part: NodePart): void {
    this.parts.push(part);
  }

  messages(): string[] {
    return this.logged.map(({ msg }) => msg);
  }

  remove(): void {
    rmSync(this.config.dataDir, { recursive: true, force: true });
  }
}

export function nodeRecord(id: string, more: Partial<NodeRecord> = {}): NodeRecord {
  return {
    id,
    incarnation: 'i',
    roles: ['storage'],
    host: '127.0.0.1',
    port: 1,
    state: 'running',
    version: '0.1.0',
    startedAtMs: 0,
    appliedRevision: 0,
    outstandingRequests: 0,
    eventLoopDelayMs: 1,
    labels: {},
    ...more,
  };
}
