import type { FactorConfig } from '@binnacle/node-kit/proxy-config';
import type { RoutingPolicy } from '../backends/backend.js';
import type { SettingsView } from '../settings/proxy-settings.js';

/** What counts before what: everything; the own zone before load; or nothing but the number of sessions. */
type BalancePolicy = 'resource' | 'location' | 'connection';

/** Section [balance] and what else decides where sessions go. Speeds are sessions a second; 0: the factor's own. */
export interface BalanceSettings {
  readonly policy: BalancePolicy;
  readonly routingPolicy: RoutingPolicy;
  /** Empty: the factor is off. */
  readonly labelName: string;
  /** Labels of this proxy; `zone` is its location. */
  readonly labels: Readonly<Record<string, string>>;
  readonly statusPerSecond: number;
  readonly health: FactorSettings;
  readonly memory: FactorSettings;
  readonly cpu: FactorSettings & { /** Backends below this share of their cores need no relief, 0 to 1. */ readonly minBalanceUsage: number };
  readonly location: FactorSettings;
  readonly sessionsPerSecond: number;
  /** Sessions move when one backend has more than so many times those of another; above 1. */
  readonly sessionsRatio: number;
}

export interface FactorSettings {
  readonly enabled: boolean;
  readonly perSecond: number;
}

export const defaultBalanceSettings: BalanceSettings = {
  policy: 'resource',
  routingPolicy: 'prefer-idle',
  labelName: '',
  labels: {},
  statusPerSecond: 0,
  health: { enabled: true, perSecond: 0 },
  memory: { enabled: true, perSecond: 0 },
  cpu: { enabled: true, perSecond: 0, minBalanceUsage: 0 },
  location: { enabled: true, perSecond: 0 },
  sessionsPerSecond: 0,
  sessionsRatio: 1.2,
};

/** Section [balance] in the words of `balance/`. */
export function balanceSettings({ balance, labels }: SettingsView): BalanceSettings {
  const factor = ({ enabled, migrationsPerSecond }: FactorConfig): FactorSettings => ({ enabled, perSecond: migrationsPerSecond });
  return {
    policy: balance.policy as BalancePolicy,
    routingPolicy: balance.routingPolicy as RoutingPolicy,
    labelName: balance.labelName,
    labels,
    statusPerSecond: balance.status.migrationsPerSecond,
    health: factor(balance.health),
    memory: factor(balance.memory),
    cpu: { ...factor(balance.cpu), minBalanceUsage: balance.cpu.minBalanceUsage },
    location: factor(balance.location),
    sessionsPerSecond: balance.connCount.migrationsPerSecond,
    sessionsRatio: balance.connCount.countRatioThreshold || defaultBalanceSettings.sessionsRatio,
  };
}
