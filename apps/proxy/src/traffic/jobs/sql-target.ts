import { splitAddress } from '@binnacle/node-kit/value-forms';

/** How a child process of this node reaches its SQL port; undefined while that is not open. */
export function sqlTarget(address: string | undefined, tls: boolean): { readonly host: string; readonly port: number; readonly tls: boolean } | undefined {
  const split = address === undefined ? undefined : splitAddress(address);
  if (split === undefined) return undefined;
  return { host: ['', '0.0.0.0', '::'].includes(split.host) ? '127.0.0.1' : split.host, port: split.port, tls };
}
