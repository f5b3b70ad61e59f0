import type { GatewayConfig } from '@binnacle/node-kit/config';
import { ConfigError } from '@binnacle/node-kit/config-error';
import { isLoopback } from '@binnacle/node-kit/load-config';

/** Throws, with a message for the person who starts the node, when the public listeners would let in everybody on the network. */
export function assertSafeBind(gateway: GatewayConfig, storedKeyCount: number): void {
  if (isLoopback(gateway.host) || gateway.apiKey !== '' || gateway.tlsCaFile !== '' || storedKeyCount > 0) return;
  throw new ConfigError([
    `gateway.host is ${gateway.host}, which other machines reach, and nothing would ask clients who they are: set gateway.api-key ` +
      '(BINNACLE_GATEWAY_API_KEY, or BINNACLE_GATEWAY_API_KEY_FILE), for example from `openssl rand -hex 32`; or ask for client ' +
      'certificates with gateway.tls-cert-file, gateway.tls-key-file and gateway.tls-ca-file; or bind gateway.host to 127.0.0.1',
  ]);
}
