import { utf8mb4GeneralCi } from '@binnacle/mysql-wire/charset';
import { openInput } from '../files/traffic-input.js';
import { openBackend } from '../replay/replay-connection.js';
import type { ReplayOrder } from '../replay/replay-order.js';
import type { ReplayTarget, TargetFacts } from '../replay/replay-target.js';
import type { TrafficSource } from '../replay/traffic-source.js';
import type { ReportBuilder } from '../report/report-builder.js';
import { explainRecords } from './explain-records.js';
import { parsePlans, plansFileName } from './plans-file.js';

const plansTimeoutMs = 60_000;

/** By digest, those of every part of the capture that has one: each had an example of its own. */
export type PlansThen = ReadonlyMap<string, readonly string[]>;

/** Empty where nobody asked for them. */
export async function readPlans({ input: from, store, explain }: ReplayOrder, warn: (message: string) => void): Promise<PlansThen> {
  const plans = new Map<string, string[]>();
  if (explain === undefined) return plans;
  const input = await openInput(from, store);
  try {
    for (const { path } of await input.list()) {
      if (path !== plansFileName && !path.endsWith(`/${plansFileName}`)) continue;
      const read = await input.text(path).then(parsePlans).catch((error: Error) => warn(`${path} cannot be read: ${error.message}`));
      for (const [digest, plan] of read ?? []) plans.set(digest, [...(plans.get(digest) ?? []), plan]);
    }
  } finally {
    await input.close();
  }
  if (plans.size === 0) warn('plans are not compared: the capture has none');
  return plans;
}

/** Asks a server for the same plans. Rejects where nobody is let in to ask. */
export async function comparePlans(
  plans: PlansThen, source: TrafficSource, target: ReplayTarget, account: { readonly username: string; readonly password: string }, facts: TargetFacts,
  signal: AbortSignal, builder: ReportBuilder,
): Promise<void> {
  const asAccount = { ...target, user: account.username, password: account.password };
  const explained = await explainRecords({
    records: source.records(), open: () => openBackend(asAccount, utf8mb4GeneralCi, 0), facts, wanted: new Set(plans.keys()), timeoutMs: plansTimeoutMs, signal,
  });
  for (const { digest, text, plan: now } of explained) {
    const then = plans.get(digest)!;
    builder.addPlan(digest, text, { then: then[0]!, now, changed: !then.includes(now) });
  }
}
