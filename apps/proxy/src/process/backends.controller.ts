import { BinnacleError } from '@binnacle/contracts/errors';
import { Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { Backends, type BackendReport } from '../backends/backends.js';
import type { BackendStays } from './backend-stays.js';
import { DrainedBackends } from './drained-backends.js';
import { ProxyPeers } from './proxy-peers.js';
import { SessionDirectory } from './session-directory.js';
import { SqlProxy } from './sql-proxy.js';

interface ShownBackend {
  readonly id: string;
  /** Over all proxy nodes that answered. */
  readonly sessions: number;
}

/** `/api/v1/backends`: health as the answering proxy node sees it, sessions of all of them. */
@Controller('api/v1/backends')
export class BackendsController {
  constructor(
    private readonly backends: Backends,
    private readonly drained: DrainedBackends,
    private readonly directory: SessionDirectory,
    private readonly peers: ProxyPeers,
  ) {}

  @Get()
  async list(@Query('node') node?: string): Promise<object> {
    const { answers, away } = await this.#ofNodes(node);
    const own = answers[0]?.body ?? [];
    const backends = own.map((backend) => {
      const nodes = Object.fromEntries(answers.map((answer) => [answer.node, answer.body.find(({ id }) => id === backend.id)?.sessions ?? 0]));
      return { ...backend, sessions: Object.values(nodes).reduce((sum, sessions) => sum + sessions, 0), nodes };
    });
    return { backends, problems: this.backends.problems(), ...(away.length > 0 && { away }) };
  }

  @Get(':id')
  async one(@Param('id') id: string): Promise<object> {
    return { ...shown(this.#report(id)), drain: await this.#progress(id) };
  }

  /** For every proxy node, and until it is taken back. Answers at once with what is still there; `GET` says how far it has got. */
  @Post(':id/drain')
  @HttpCode(200)
  async drain(@Param('id') id: string): Promise<object> {
    this.#report(id);
    await this.drained.add(id);
    return { id, drain: await this.#progress(id) };
  }

  @Delete(':id/drain')
  async undrain(@Param('id') id: string): Promise<object> {
    if (!(await this.drained.remove(id))) throw new BinnacleError('NOT_FOUND', `backend ${id} is not drained`);
    return { id, drain: await this.#progress(id) };
  }

  async #ofNodes(node: string | undefined): Promise<{ answers: { node: string; body: readonly ShownBackend[] }[]; away: readonly string[] }> {
    const own = { node: this.peers.ownId, body: this.backends.reports().map(shown) };
    if (node === undefined || node === '*') {
      const others = await this.peers.askOthers<readonly ShownBackend[]>('GET', 'backends');
      return { answers: [own, ...others.answers], away: others.away };
    }
    if (node === this.peers.ownId) return { answers: [own], away: [] };
    return { answers: [{ node, body: (await this.peers.ask<readonly ShownBackend[]>(this.peers.named(node), 'GET', 'backends')) ?? [] }], away: [] };
  }

  #report(id: string): BackendReport {
    const report = this.backends.reports().find((backend) => backend.id === id);
    if (report === undefined) throw new BinnacleError('NOT_FOUND', `there is no backend ${JSON.stringify(id.slice(0, 262))}; GET /api/v1/backends lists them`);
    return report;
  }

  /** What has not left yet, on any proxy node, and why. */
  async #progress(id: string): Promise<object> {
    const entry = this.drained.all().find((drained) => drained.id === id);
    const { sessions, movable, stay, away } = await this.directory.stays(id);
    const since = entry && { since: new Date(entry.sinceMs).toISOString() };
    return { drained: entry !== undefined, ...since, sessionsLeft: sessions, movable, stay, ...(away.length > 0 && { away }) };
  }
}

/** The backends of this node, for the others. */
@Controller('agent/v1/proxy/backends')
export class BackendsAgentController {
  constructor(
    private readonly backends: Backends,
    private readonly proxy: SqlProxy,
  ) {}

  @Get()
  list(): readonly ShownBackend[] {
    return this.backends.reports().map(shown);
  }

  @Get(':id/stays')
  stays(@Param('id') id: string): Promise<BackendStays> {
    return this.proxy.workers.stays(id);
  }
}

function shown({ id, cluster, kind, greeting, healthy, reason, notice, draining, readOnly, group, labels, score, sessions, state }: BackendReport) {
  return {
    id,
    cluster,
    kind,
    version: greeting?.serverVersion ?? '',
    healthy,
    reason,
    notice,
    draining,
    readOnly,
    group,
    labels,
    score,
    sessions,
    pingMs: state.pingMs ?? null,
    checkedAt: state.checkedAtMs === undefined ? null : new Date(state.checkedAtMs).toISOString(),
  };
}
