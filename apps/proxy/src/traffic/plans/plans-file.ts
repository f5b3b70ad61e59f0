import type { ExplainedPlan } from './explain-records.js';

/** Beside the traffic files of a capture; no values of statements are in it. */
export const plansFileName = 'plans.json';

const plansMax = 10_000;
const textCharactersMax = 32 * 1_048_576;

export function encodePlans(plans: readonly ExplainedPlan[]): string {
  return `${JSON.stringify({ version: 1, plans: plans.map(({ digest, plan }) => ({ digest, plan })) })}\n`;
}

/** Plans by digest. Throws an Error that says what is wrong. */
export function parsePlans(text: string): Map<string, string> {
  if (text.length > textCharactersMax) throw new Error('it is too long');
  const { plans } = (JSON.parse(text) ?? {}) as { plans?: unknown };
  if (!Array.isArray(plans) || plans.length > plansMax) throw new Error('it has no list of plans');
  return new Map(
    (plans as unknown[]).map((entry): [string, string] => {
      const { digest, plan } = (entry ?? {}) as { digest?: unknown; plan?: unknown };
      if (typeof digest !== 'string' || !/^[0-9a-f]{64}$/.test(digest) || typeof plan !== 'string') throw new Error('an entry is no plan');
      return [digest, plan];
    }),
  );
}
