import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext, type NodePart } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import type { CapturedProfile, ProfileKind } from './captured-profile.js';
import { describeProfile, fileNameOf, profileOfFile, type KeptProfile, type ProfileOrigin } from './kept-profile.js';
import { rarely } from './rarely.js';
import { diskBytes, profilesToDelete } from './retention.js';
import { isDiskFull, unfinished, writeWholeFile } from './whole-file.js';

/** Which profiles a list is about; absent means all. The times are inclusive, and a profile counts that was under way at any of them. */
export interface ProfileFilter {
  readonly node?: string | undefined;
  readonly kind?: ProfileKind | undefined;
  readonly fromMs?: number | undefined;
  readonly toMs?: number | undefined;
  readonly limit: number;
}

const megabyte = 2 ** 20;
const dayMs = 24 * 3_600_000;
/** What is too old goes although nothing new comes. */
const sweepMs = 10 * 60_000;
/** About 400 bytes of memory each: 100 MB. A gigabyte of the smallest files is as many. */
const profilesMax = 262_144;

/** The profiles this node keeps: files in `{data-dir}/profiles/node-{id}`, their descriptions in memory. */
@Injectable()
export class KeptProfiles implements NodePart {
  readonly name = 'kept profiles';
  readonly #folder: string;
  readonly #mayComplain: () => boolean;
  readonly #failures: Counter<'reason'>;
  /** Oldest first. */
  #profiles: KeptProfile[] = [];
  readonly #byId = new Map<string, KeptProfile>();
  #bytes = 0;
  /** For the oldest start that a profile under way at a given time can have. */
  #longestMs = 0;
  #deletions: Promise<void> = Promise.resolve();
  #cancelSweep = (): void => {};

  constructor(private readonly node: NodeContext) {
    this.#folder = join(node.config.dataDir, 'profiles', `node-${node.id}`);
    this.#mayComplain = rarely(node.clock);
    this.#failures = new Counter({
      name: 'binnacle_profiles_not_kept_total',
      help: 'Profiles that could not be kept, by reason: disk_full, too_large or failed.',
      labelNames: ['reason'],
      registers: [node.metrics],
    });
    this.#addGauges();
    node.addPart(this);
  }

  /** Lists what earlier runs kept and removes what one of them left half-written. */
  async start(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#folder)) {
      const profile = profileOfFile(name, this.node.id);
      if (profile !== undefined) this.#profiles.push(profile);
      else if (name.endsWith(unfinished)) await rm(join(this.#folder, name), { force: true });
    }
    this.#profiles.sort((a, b) => a.startedAtMs - b.startedAtMs);
    for (const profile of this.#profiles) this.#count(profile);
    this.#sweep();
  }

  async stop(): Promise<void> {
    this.#cancelSweep();
    await this.#deletions;
  }

  /**
   * Writes the profile down, so that a restart finds it. Rejects with OUT_OF_DISK, or with what else kept it from being
   * written; that has been logged and counted then.
   */
  async keep(captured: CapturedProfile, origin: ProfileOrigin): Promise<KeptProfile> {
    const profile = describeProfile({ captured, origin, keeper: this.node.id });
    // Else everything older would go to make room for it, and then it itself.
    if (diskBytes(profile) > this.#bytesMax()) throw this.#notKept(profile, new Error(`it has ${profile.bytes} bytes`), 'too_large');
    try {
      // Somebody may have tidied up the folder as a whole.
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      await writeWholeFile(join(this.#folder, fileNameOf(profile)), captured.pprof);
    } catch (error) {
      throw this.#notKept(profile, error, isDiskFull(error) ? 'disk_full' : 'failed');
    }
    this.#add(profile);
    this.#deleteSurplus();
    return profile;
  }

  /** Newest first. */
  list({ node, kind, fromMs = -Infinity, toMs = Infinity, limit }: ProfileFilter): KeptProfile[] {
    const found: KeptProfile[] = [];
    for (let at = this.#endOf(toMs) - 1; at >= 0 && found.length < limit; at--) {
      const profile = this.#profiles[at] as KeptProfile;
      if (profile.startedAtMs < fromMs - this.#longestMs) break;
      if (profile.startedAtMs + profile.durationMs < fromMs) continue;
      if ((node === undefined || profile.node === node) && (kind === undefined || profile.kind === kind)) found.push(profile);
    }
    return found;
  }

  /** Throws NOT_FOUND. */
  describe(id: string): KeptProfile {
    const profile = this.#byId.get(id);
    if (profile === undefined) throw notFound(id);
    return profile;
  }

  /** Gzipped pprof. Rejects with NOT_FOUND. */
  async read(id: string): Promise<Buffer> {
    const profile = this.describe(id);
    try {
      return await readFile(join(this.#folder, fileNameOf(profile)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      // Somebody tidied up in the folder.
      this.#forget(new Set([profile]));
      throw notFound(id);
    }
  }

  #bytesMax(): number {
    return this.node.config.profiling.keepMegabytesMax * megabyte;
  }

  #add(profile: KeptProfile): void {
    // A long capture may end after a short one that began later.
    this.#profiles.splice(this.#endOf(profile.startedAtMs), 0, profile);
    this.#count(profile);
  }

  #count(profile: KeptProfile): void {
    this.#byId.set(profile.id, profile);
    this.#bytes += diskBytes(profile);
    this.#longestMs = Math.max(this.#longestMs, profile.durationMs);
  }

  /** How many profiles had begun by then. */
  #endOf(timeMs: number): number {
    let low = 0;
    let high = this.#profiles.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#profiles[middle] as KeptProfile).startedAtMs <= timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #forget(gone: ReadonlySet<KeptProfile>): void {
    this.#profiles = this.#profiles.filter((profile) => !gone.has(profile));
    for (const profile of gone) {
      if (this.#byId.delete(profile.id)) this.#bytes -= diskBytes(profile);
    }
  }

  #sweep(): void {
    this.#deleteSurplus();
    this.#cancelSweep = this.node.clock.after(sweepMs, () => this.#sweep());
  }

  /** At once out of the lists, and one file after the other from the disk. */
  #deleteSurplus(): void {
    const nowMs = this.node.clock.nowMs();
    const ageMsMax = this.node.config.profiling.keepDaysMax * dayMs;
    const isOldestOld = (this.#profiles[0]?.startedAtMs ?? nowMs) < nowMs - ageMsMax;
    if (!isOldestOld && this.#bytes <= this.#bytesMax() && this.#profiles.length <= profilesMax) return;
    const victims = profilesToDelete(this.#profiles, { nowMs, ageMsMax, bytesMax: this.#bytesMax(), profilesMax });
    this.#forget(victims);
    this.#deletions = this.#deletions.then(() => this.#deleteFiles(victims));
  }

  async #deleteFiles(profiles: Iterable<KeptProfile>): Promise<void> {
    for (const profile of profiles) {
      try {
        await rm(join(this.#folder, fileNameOf(profile)), { force: true });
      } catch (error) {
        // It is found again at the next start.
        if (this.#mayComplain()) this.node.log.warn({ err: error, profile: profile.id }, 'a kept profile could not be deleted');
      }
    }
  }

  #notKept(profile: KeptProfile, cause: unknown, reason: 'disk_full' | 'too_large' | 'failed'): BinnacleError {
    this.#failures.inc({ reason });
    const folder = this.#folder;
    const message = { disk_full: 'the disk is full', too_large: 'it is larger than profiling.keep-megabytes-max', failed: 'it cannot be written' }[reason];
    const { node, kind } = profile;
    if (this.#mayComplain()) this.node.log.warn({ err: cause, folder, profiledNode: node, kind }, `a profile is not kept: ${message}`);
    return new BinnacleError(reason === 'failed' ? 'INTERNAL' : 'OUT_OF_DISK', `the profile is not kept: ${message}`, { cause });
  }

  #addGauges(): void {
    const gauge = (name: string, help: string, value: () => number): void => {
      new Gauge({
        name,
        help,
        registers: [this.node.metrics],
        collect() {
          this.set(value());
        },
      });
    };
    gauge('binnacle_kept_profiles', 'Profiles this node keeps.', () => this.#profiles.length);
    gauge('binnacle_kept_profile_bytes', 'What they take on disk, in whole blocks.', () => this.#bytes);
  }
}

function notFound(id: string): BinnacleError {
  return new BinnacleError('NOT_FOUND', `no profile ${id}: GET /api/v1/profiles lists those that are kept`);
}
