import { rm } from 'node:fs/promises';
import type { NodePart } from '@binnacle/node-kit/node-context';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { FreshAnswer, FreshRegionAnswer, FreshRegionQuestion } from './fresh-format.js';
import { FreshParts, type FreshPin } from './fresh-parts.js';
import type { SeenManifest } from './manifest-follower.js';

/** A region and the node that writes it, as the catalog has it. */
export interface WrittenRegion {
  readonly id: number;
  readonly writeNode: string;
  readonly term: number;
}

/**
 * A region at one moment: everything the manifest shows, and the rows of `pin` with versions (of the log of the write node) over `from`, up to
 * `to`. Together they are the versions of the region up to `version`, all of them and no others.
 */
export interface RegionView {
  readonly regionId: number;
  readonly known: SeenManifest | undefined;
  readonly version: number;
  readonly from: number;
  readonly to: number;
  readonly pin: FreshPin;
}

export interface FreshRowsParts {
  /** Of this node alone; emptied at the start. */
  readonly folder: string;
  readonly bytesMax: number;
  readonly current: (regionId: number) => SeenManifest | undefined;
  readonly refresh: (regionId: number) => Promise<SeenManifest | undefined>;
  /** Asks a write node, this one without HTTP. Rejects when it is away. */
  readonly ask: (nodeId: string, questions: readonly FreshRegionQuestion[], signal: AbortSignal) => Promise<FreshAnswer>;
}

/** What is kept of a region: rows of the log of one write node in one term. */
interface Kept {
  readonly term: number;
  readonly versionBase: number;
  readonly parts: FreshParts;
}

interface Wanted {
  readonly region: WrittenRegion;
  readonly resolve: (view: RegionView | NotYet) => void;
  readonly reject: (error: unknown) => void;
}

/** To be asked again; `behind`: or to be read from a manifest that shows this version. */
interface NotYet {
  readonly behind?: { readonly term: number; readonly version: number };
}

/** Of one write node: one question at a time; who comes while one is under way is in the next one, all together. */
interface Line {
  readonly waiting: Wanted[];
  isAsking: boolean;
}

const firstPauseMs = 20;
const pauseMsMax = 1_000;

/** The rows that are acknowledged and not in the bucket yet, as a compute node has them: fetched by what is new, dropped when the manifest shows them. */
export class FreshRows implements NodePart {
  readonly name = 'fresh rows';
  readonly #kept = new Map<number, Kept>();
  readonly #lines = new Map<string, Line>();
  readonly #stopped = new AbortController();

  constructor(private readonly parts: FreshRowsParts) {}

  async start(): Promise<void> {
    await rm(this.parts.folder, { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    this.#stopped.abort(new BinnacleError('NOT_READY', 'this node stops'));
    await rm(this.parts.folder, { recursive: true, force: true });
  }

  bytes(): number {
    let bytes = 0;
    for (const { parts } of this.#kept.values()) bytes += parts.bytes();
    return bytes;
  }

  /** The region with every write that was acknowledged before the call. Rejects with the signal's reason when that cannot be told before. */
  async view(region: WrittenRegion, signal: AbortSignal): Promise<RegionView> {
    // Versions that were there at the first answer are enough; with later ones a busy region would never be caught up with.
    let target: { term: number; version: number } | undefined;
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, pauseMsMax)) {
      const asked = this.#ask(region);
      const view = await untilAborted(asked, signal).catch((error: unknown) => {
        void asked.then((late) => 'pin' in late && late.pin.release()).catch(() => undefined);
        throw error;
      });
      if ('pin' in view) return view;
      if (view.behind !== undefined && target?.term !== view.behind.term) target = view.behind;
      await untilAborted(new Promise<void>((resolve) => void setTimeout(resolve, pauseMs)), signal);
      const known = await untilAborted(this.parts.refresh(region.id), signal);
      if (known === undefined || target === undefined || known.manifest.term !== target.term) continue;
      if (known.manifest.uploadedVersion >= target.version) return manifestAlone(region.id, known);
    }
  }

  /** What the newest known manifest shows, and nothing else. */
  async staleView({ id }: WrittenRegion): Promise<RegionView> {
    const known = this.parts.current(id) ?? (await this.parts.refresh(id));
    return manifestAlone(id, known);
  }

  #ask(region: WrittenRegion): Promise<RegionView | NotYet> {
    return new Promise((resolve, reject) => {
      let line = this.#lines.get(region.writeNode);
      if (line === undefined) this.#lines.set(region.writeNode, (line = { waiting: [], isAsking: false }));
      line.waiting.push({ region, resolve, reject });
      // Other regions of the same query are asked for in the same turn.
      if (!line.isAsking) queueMicrotask(() => void this.#next(region.writeNode));
    });
  }

  async #next(nodeId: string): Promise<void> {
    const line = this.#lines.get(nodeId);
    if (line === undefined || line.isAsking) return;
    line.isAsking = true;
    while (line.waiting.length > 0) {
      const wanted = line.waiting.splice(0);
      try {
        await this.#askOnce(nodeId, wanted);
      } catch (error) {
        for (const { reject } of wanted) reject(error);
      }
    }
    line.isAsking = false;
    this.#lines.delete(nodeId);
  }

  async #askOnce(nodeId: string, wanted: readonly Wanted[]): Promise<void> {
    const ids = [...new Set(wanted.map(({ region }) => region.id))];
    for (const id of ids) if (this.parts.current(id) === undefined) await this.parts.refresh(id);
    const questions = ids.map((id) => this.#question(id));
    const { regions, rows } = await this.parts.ask(nodeId, questions, this.#stopped.signal);
    const answers = new Map<number, FreshRegionAnswer>();
    let next = 0;
    for (const answer of regions) {
      answers.set(answer.regionId, answer);
      if (answer.state === 'rows') await this.#keep(answer, questions.find(({ regionId }) => regionId === answer.regionId) as FreshRegionQuestion, rows[next++] as Buffer);
    }
    for (const want of wanted) want.resolve(this.#viewOf(want.region, answers.get(want.region.id)));
    this.#limit(new Set(ids));
  }

  #question(regionId: number): FreshRegionQuestion {
    const manifest = this.parts.current(regionId)?.manifest;
    const [term, uploaded] = [manifest?.term ?? 0, manifest?.uploadedVersion ?? 0];
    const kept = this.#kept.get(regionId);
    const isUsable = kept !== undefined && kept.term === term && kept.versionBase + kept.parts.to >= uploaded && kept.versionBase + kept.parts.from <= uploaded;
    if (isUsable) return { regionId, term, after: kept.versionBase + kept.parts.to };
    this.#forget(regionId);
    return { regionId, term, after: uploaded };
  }

  /** Two nodes may be asked for a region while it moves: their logs are not mixed. */
  async #keep(answer: Extract<FreshRegionAnswer, { state: 'rows' }>, question: FreshRegionQuestion, rows: Buffer): Promise<void> {
    const { regionId, term, versionBase, to, lineBytes } = answer;
    let kept = this.#kept.get(regionId);
    if (kept === undefined) {
      kept = { term, versionBase, parts: new FreshParts(this.parts.folder, question.after - versionBase) };
      this.#kept.set(regionId, kept);
    } else if (kept.term !== term || kept.versionBase !== versionBase || kept.versionBase + kept.parts.to !== question.after) return;
    await kept.parts.add([rows], to - versionBase, lineBytes);
    const uploaded = this.parts.current(regionId)?.manifest;
    if (uploaded?.term === term) kept.parts.dropUpTo(uploaded.uploadedVersion - versionBase);
  }

  /** Without a pause in it: manifest and rows are of one moment. */
  #viewOf(region: WrittenRegion, answer: FreshRegionAnswer | undefined): RegionView | NotYet {
    const known = this.parts.current(region.id);
    const kept = this.#kept.get(region.id);
    // The catalog may be behind the manifest: the node that was asked has lost the region then.
    if (answer === undefined || answer.state === 'elsewhere' || known === undefined || known.manifest.term !== region.term) return {};
    const { term, uploadedVersion } = known.manifest;
    if (answer.state === 'behind') return answer.to > 0 ? { behind: { term: answer.term, version: answer.to } } : {};
    if (answer.term !== term || kept?.term !== term || kept.versionBase !== answer.versionBase || kept.versionBase + kept.parts.to < answer.to) return {};
    const from = uploadedVersion - kept.versionBase;
    if (from < kept.parts.from) return {};
    const to = Math.max(from, kept.parts.to);
    return { regionId: region.id, known, version: kept.versionBase + to, from, to, pin: kept.parts.pin(from) };
  }

  /** Over the bound, regions that were not asked for just now go first; they are fetched again when they are. */
  #limit(used: ReadonlySet<number>): void {
    if (this.bytes() <= this.parts.bytesMax) return;
    for (const regionId of [...this.#kept.keys()].filter((id) => !used.has(id))) this.#forget(regionId);
    for (const regionId of used) if (this.bytes() > this.parts.bytesMax) this.#forget(regionId);
  }

  #forget(regionId: number): void {
    this.#kept.get(regionId)?.parts.dropAll();
    this.#kept.delete(regionId);
  }
}

function manifestAlone(regionId: number, known: SeenManifest | undefined): RegionView {
  return { regionId, known, version: known?.manifest.uploadedVersion ?? 0, from: 0, to: 0, pin: noRows };
}

const noRows: FreshPin = { parts: [], release: () => undefined };

async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let abort = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
