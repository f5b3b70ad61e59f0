import { BinnacleError } from '@binnacle/contracts/errors';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import { keeperOf, profileView, type ProfileView } from './kept-profile.js';
import { KeptProfiles, type ProfileFilter } from './kept-profiles.js';
import { queryOf } from './profile-query.js';
import { ProfilingPeers } from './profiling-peers.js';

export interface FoundProfile extends ProfileView {
  /** Gzipped pprof. */
  readonly pprof: Buffer;
}

export interface ProfileList {
  /** Newest first. */
  readonly profiles: readonly ProfileView[];
  /** Ids of profiling nodes whose profiles are missing here, because they did not answer. */
  readonly unreachable: readonly string[];
}

const peerTimeoutMs = 30_000;
/** A merged profile of a large cluster is a few megabytes. */
export const profileBytesMax = 64 * 2 ** 20;

/** The profiles that all profiling nodes keep, whichever of them is asked. */
@Injectable()
export class ProfileKeepers {
  constructor(
    private readonly node: NodeContext,
    private readonly kept: KeptProfiles,
    private readonly peers: ProfilingPeers,
    private readonly agent: AgentClient,
  ) {}

  async list(filter: ProfileFilter): Promise<ProfileList> {
    const { bodies, away } = await this.peers.ask<{ profiles: ProfileView[] }>({ method: 'GET', path: `/agent/v1/profiles?${queryOf(filter)}` });
    const profiles = [this.kept.list(filter).map(profileView), ...bodies.map((body) => body.profiles)].flat();
    // ISO times of one form sort as texts.
    profiles.sort((a, b) => (a.startedAt < b.startedAt ? 1 : a.startedAt > b.startedAt ? -1 : 0));
    return { profiles: profiles.slice(0, filter.limit), unreachable: away };
  }

  /** Rejects with NOT_FOUND, and with UPSTREAM_UNREACHABLE or UPSTREAM_TIMEOUT when its keeper does not answer. */
  async read(id: string): Promise<FoundProfile> {
    const keeper = keeperOf(id);
    if (keeper === undefined) throw new BinnacleError('NOT_FOUND', 'this is no id of a profile: GET /api/v1/profiles lists those that are kept');
    if (keeper === this.node.id) return { ...profileView(this.kept.describe(id)), pprof: await this.kept.read(id) };
    const peer = this.peers.all().find((each) => each.id === keeper);
    if (peer === undefined) throw new BinnacleError('NOT_FOUND', `no profile ${id} now: the profiling node ${keeper} keeps it, and is not registered`);
    const path = `/agent/v1/profiles/${id}`;
    const [view, pprof] = await Promise.all([this.#ask(peer, path), this.#ask(peer, `${path}/pprof`)]);
    return { ...(JSON.parse(view.toString()) as ProfileView), pprof };
  }

  async #ask(peer: NodeRecord, path: string): Promise<Buffer> {
    const { status, bytes } = await this.agent.requestBytes(peer, { method: 'GET', path, timeoutMs: peerTimeoutMs }, profileBytesMax);
    if (status === 200) return bytes;
    if (status === 404) throw new BinnacleError('NOT_FOUND', `the profiling node ${peer.id} does not keep this profile any more`);
    throw new BinnacleError('UPSTREAM_UNREACHABLE', `node ${peer.id} answered ${status}`);
  }
}
