import { BinnacleError } from '@binnacle/contracts/errors';
import { Injectable } from '@nestjs/common';
import type { ProfileFilter } from './kept-profiles.js';
import { ProfileKeepers, profileBytesMax, type FoundProfile } from './profile-keepers.js';
import { Renderer } from './renderer.js';

export interface MergedRange {
  readonly profile: FoundProfile;
  /** How many profiles are in it. */
  readonly count: number;
  readonly unreachable: readonly string[];
}

/** An hour of one node's continuous profiles and some more. */
const partsMax = 100;
const readsAtOnce = 8;

/** What nodes did over a while: all kept profiles of a time as one, in which every sample has its node as a label. */
@Injectable()
export class MergedProfiles {
  constructor(
    private readonly keepers: ProfileKeepers,
    private readonly renderer: Renderer,
  ) {}

  /** `cpu` where the filter names no kind. Rejects with NOT_FOUND for none, and with BAD_REQUEST for too many. */
  async of({ kind = 'cpu', ...filter }: ProfileFilter): Promise<MergedRange> {
    const list = await this.keepers.list({ ...filter, kind, limit: partsMax + 1 });
    // Those of several nodes are merged already, of captures that may be here one by one as well.
    const views = filter.node === '*' ? list.profiles : list.profiles.filter(({ node }) => node !== '*');
    const [newest] = views;
    const oldest = views.at(-1);
    if (newest === undefined || oldest === undefined) throw new BinnacleError('NOT_FOUND', `no ${kind} profile is kept of that node and time`);
    const bytes = views.reduce((sum, view) => sum + view.bytes, 0);
    if (list.profiles.length > partsMax || bytes > profileBytesMax) {
      throw new BinnacleError('BAD_REQUEST', `these are too many profiles for one: at most ${partsMax}, of ${profileBytesMax} bytes together; narrow node, from or to`);
    }
    const parts: FoundProfile[] = [];
    for (let at = 0; at < views.length; at += readsAtOnce) {
      parts.push(...(await Promise.all(views.slice(at, at + readsAtOnce).map(({ id }) => this.keepers.read(id)))));
    }
    const pprof = await this.renderer.merge(parts, [`${parts.length} profiles from ${oldest.startedAt} to ${newest.startedAt}`]);
    const isOneNode = views.every(({ node }) => node === newest.node);
    const profile = { ...oldest, id: 'merged', node: isOneNode ? newest.node : '*', bytes: pprof.length, pprof };
    return { profile, count: parts.length, unreachable: list.unreachable };
  }
}
