/**
 * A process that campaigns for a lease and acts as fast as it can whenever it believes that it owns it. It tells when it acted last,
 * when that was refused to it first, and what `onChange` said, all stamped with the wall clock of the machine.
 */
import { Candidacy } from '../src/candidacy.js';
import { systemClock } from '../src/clock.js';
import { RedisClusterState } from '../src/redis-cluster-state.js';

export type HolderMessage =
  | { readonly change: number | null; readonly atMs: number }
  | { readonly gap: { readonly lastActedAtMs: number; readonly nextTriedAtMs: number; readonly termThen: number | null } };

process.on('disconnect', () => process.exit());

const [url, prefix, nodeId, ttlMs] = process.argv.slice(2) as [string, string, string, string];
const settings = { url, sentinels: '', cluster: false, caFile: '', prefix, timeoutMs: 1_000 };
const state = await RedisClusterState.open(settings, systemClock);
const candidate = { nodeId, incarnation: String(process.pid), address: '' };
const candidacy = new Candidacy(state, systemClock, { lease: 'leader', candidate, ttlMs: Number(ttlMs) });
const tell = (message: HolderMessage): void => void process.send!(message);
candidacy.onChange((term) => tell({ change: term ?? null, atMs: Date.now() }));
candidacy.start();

let lastActedAtMs = Date.now();
let lastTriedAtMs = Date.now();
function act(): void {
  const nowMs = Date.now();
  // A hole in time: this process was stopped. What does it believe in its first moment back, before anything else could run?
  if (nowMs - lastTriedAtMs > 500) tell({ gap: { lastActedAtMs, nextTriedAtMs: nowMs, termThen: candidacy.term() ?? null } });
  lastTriedAtMs = nowMs;
  if (candidacy.isOwner()) lastActedAtMs = nowMs;
  // Half a millisecond of work a turn, so that the process is stopped in the midst of acting and not of waiting.
  const untilMs = performance.now() + 0.5;
  while (performance.now() < untilMs);
  setImmediate(act);
}
act();
