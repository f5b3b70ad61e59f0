import { parseAddress } from '../backends/discovery.js';
import type { SettingsView } from '../settings/proxy-settings.js';
import type { ListenAddress } from './sql-listener.js';

/** Where the SQL port is to be: `proxy.addr`, and with `proxy.port-range` all its ports on the host of that. */
export function listenAddresses({ proxy }: SettingsView): ListenAddress[] {
  const addresses = proxy.addr.map((text) => parseListen(text));
  const [first, last] = proxy.portRange;
  if (first === undefined || last === undefined) return addresses;
  const host = addresses[0]?.host ?? '127.0.0.1';
  return Array.from({ length: last - first + 1 }, (_, at) => ({ host, port: first + at }));
}

/** Port 0 takes a free one, which no backend's address may say. */
function parseListen(text: string): ListenAddress {
  const colon = text.lastIndexOf(':');
  return parseAddress(text) ?? { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}
