import { ConnectionLost, MysqlError } from '../../connection/mysql-error.js';
import { readKeyFile } from '../files/encryption-key.js';
import { TrafficReader } from '../files/traffic-reader.js';
import { comparePlans, readPlans, type PlansThen } from '../plans/plan-comparison.js';
import { differing } from '../report/outcomes.js';
import { counted } from '../report/printable-text.js';
import { ReportBuilder } from '../report/report-builder.js';
import type { CapturedRun, ReplayedRun, TrafficFacts } from '../report/traffic-report.js';
import type { ReplayOrder, ReplayProgress } from './replay-order.js';
import { readTarget, replayTarget, type ReplayTarget, type TargetFacts } from './replay-target.js';
import { TrafficReplay } from './traffic-replay.js';

export interface ReplayControl {
  progress(progress: ReplayProgress): void;
  /** Stops reading; what is under way is waited for, up to 10 s. */
  readonly signal: AbortSignal;
  /** What an operator may want to know of the files, at once; the report has it too. */
  warn?(message: string): void;
}

/** Places of the files that were left out. */
interface Damage {
  places: number;
  found: () => void;
}

const progressMs = 500;
const targetTimeoutMs = 10_000;

/**
 * Replays a capture and gives what was found; what ended it early is in `replay.cutOff`. Rejects where nothing could be replayed at all, with a message for
 * people: no traffic files, a key that does not fit, a target that does not let us in.
 */
export async function runReplay(order: ReplayOrder, control: ReplayControl): Promise<TrafficFacts> {
  const { target: to, username, password } = order;
  const target = replayTarget(to, username, password, targetTimeoutMs);
  const builder = new ReportBuilder();
  const warn = (message: string): void => {
    builder.warn(message);
    control.warn?.(message);
  };
  const key = order.keyFile === '' ? undefined : await readKeyFile(order.keyFile);
  const damage: Damage = { places: 0, found: () => {} };
  const onDamage = (error: Error): void => {
    damage.places++;
    builder.damaged();
    damage.found();
    warn(error.message);
  };
  const reader = await TrafficReader.open({ input: order.input, store: order.store, onWarning: warn, ...(key !== undefined && { key }), ...(order.ignoreErrors && { onDamage }) });
  try {
    return await replay(order, control, reader, target, await reached(target), await readPlans(order, warn), builder, damage);
  } finally {
    await reader.close();
  }
}

async function reached(target: ReplayTarget): Promise<TargetFacts> {
  try {
    return await readTarget(target);
  } catch (error) {
    if (!(error instanceof MysqlError) && !(error instanceof ConnectionLost)) throw error;
    throw new Error(`nothing can be replayed to ${target.backend.id} as ${target.user}: ${error.message}`, { cause: error });
  }
}

async function replay(order: ReplayOrder, control: ReplayControl, reader: TrafficReader, target: ReplayTarget, facts: TargetFacts, plans: PlansThen, builder: ReportBuilder, damage: Damage): Promise<TrafficFacts> {
  const { speed, readOnly, filters, after, before } = order;
  const run = new TrafficReplay({
    source: reader, target, facts, speed, readOnly, signal: control.signal,
    filters: { users: new Set(filters.users), commands: new Set(filters.commands.map((name) => name.toLowerCase())), digests: new Set(filters.digests) },
    ...(after !== undefined && { afterUs: Date.parse(after) * 1_000 }),
    ...(before !== undefined && { beforeUs: Date.parse(before) * 1_000 }),
    report: (command) => builder.add(command),
  });
  damage.found = () => run.damaged();
  const startedMs = Date.now();
  const say = (): void => control.progress(progressOf(run, builder, reader));
  const saying = setInterval(say, progressMs);
  try {
    await run.run();
  } finally {
    clearInterval(saying);
  }
  // As they are when all is replayed: those of the capture are of its end.
  if (plans.size > 0 && run.cutOff === '') await comparePlans(plans, reader, target, order.explain!, facts, control.signal, builder);
  say();
  return builder.facts(captureOf(run, reader, damage.places), replayOf(run, order, facts, startedMs));
}

function progressOf({ counts, pace, connectionsOpen }: TrafficReplay, builder: ReportBuilder, { commands }: TrafficReader): ReplayProgress {
  const { sent, skipped, failed, lastUs } = counts;
  return {
    share: commands === undefined ? 0 : Math.min(1, counts.commands / commands),
    commands: counts.commands, sent, skipped, failed, different: differing(builder.totals), connections: connectionsOpen, lagMs: Math.round(pace.lagMs),
    lastCommandAt: lastUs === 0 ? '' : isoTime(lastUs),
  };
}

function captureOf({ counts }: TrafficReplay, { sources, missing }: TrafficReader, damagedPlaces: number): CapturedRun {
  const { firstUs, lastUs, commands, connections } = counts;
  const servers = new Set(sources.flatMap(({ meta }) => meta?.Binnacle?.serverVersion ?? []).map(shownVersion));
  const cutOff = sources.flatMap(({ name, meta, isComplete }) => {
    const where = name === '' ? '' : `${name}: `;
    if (meta?.Binnacle?.state === 'failed') return `${where}${meta.Binnacle.reason ?? 'the capture failed'}`;
    return isComplete ? [] : `${where}its proxy ended before the capture did: ${meta === undefined ? 'there is no meta' : 'meta says that it is not complete'}`;
  });
  const incompleteParts = cutOff.length + missing.length;
  if (missing.length > 0) cutOff.push(`parts of the capture are not there: ${missing.join(', ')}`);
  if (damagedPlaces > 0) cutOff.push(`${counted(damagedPlaces, 'damaged place')} of the files left out, and nothing behind the first is compared`);
  return {
    from: firstUs === undefined ? '' : isoTime(firstUs), to: firstUs === undefined ? '' : isoTime(lastUs), commands, connections, server: [...servers].join(', '), cutOff: cutOff.join('; '), incompleteParts,
  };
}

function replayOf({ counts, pace, cutOff }: TrafficReplay, { speed, readOnly }: ReplayOrder, { serverVersion }: TargetFacts, startedMs: number): ReplayedRun {
  return {
    from: new Date(startedMs).toISOString(), to: new Date().toISOString(), commands: counts.sent, connections: counts.connections, server: shownVersion(serverVersion), cutOff,
    speed, readOnly, lagMs: Math.round(pace.lagMs), lagMaxMs: Math.round(pace.lagMaxMs),
  };
}

/** MariaDB before 11 puts `5.5.5-` before its version in the handshake, for replicas of old. */
function shownVersion(serverVersion: string): string {
  return serverVersion.replace(/^5\.5\.5-(?=.*mariadb)/i, '');
}

function isoTime(timeUs: number): string {
  return new Date(timeUs / 1_000).toISOString();
}
