import { splitAddress } from '@binnacle/node-kit/value-forms';
import type { SettingsView } from '../settings/proxy-settings.js';
import type { ListenAddress } from './sql-listener.js';

/** Where the SQL port is to be: `proxy.addr`, and with `proxy.port-range` all its ports on the host of that. */
export function listenAddresses({ proxy }: SettingsView): ListenAddress[] {
  const addresses = proxy.addr.flatMap((text) => splitAddress(text) ?? []);
  const [first, last] = proxy.portRange;
  const [one] = addresses;
  if (first === undefined || last === undefined || one === undefined) return addresses;
  return Array.from({ length: last - first + 1 }, (_, at) => ({ host: one.host, port: first + at }));
}
