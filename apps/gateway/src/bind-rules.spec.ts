import { GatewayConfig } from '@binnacle/node-kit/config';
import { expect, test } from '@jest/globals';
import { assertSafeBind } from './bind-rules.js';

function gateway(values: Partial<GatewayConfig>): GatewayConfig {
  return Object.assign(new GatewayConfig(), values);
}

test.each(['127.0.0.1', '127.8.8.8', '::1', 'localhost'])('%s needs nothing: only this machine reaches it', (host) => {
  expect(() => assertSafeBind(gateway({ host }), 0)).not.toThrow();
});

test.each(['0.0.0.0', '::', '10.0.0.1', 'gateway.example'])('%s without key and mTLS is refused with what to set', (host) => {
  expect(() => assertSafeBind(gateway({ host, tlsCertFile: 'a', tlsKeyFile: 'b' }), 0)).toThrow(
    /gateway\.host is .* set gateway\.api-key \(BINNACLE_GATEWAY_API_KEY.*gateway\.tls-ca-file.*127\.0\.0\.1/,
  );
});

test('a bootstrap key, a stored key, or mTLS each suffice', () => {
  expect(() => assertSafeBind(gateway({ host: '0.0.0.0', apiKey: 'k' }), 0)).not.toThrow();
  expect(() => assertSafeBind(gateway({ host: '0.0.0.0' }), 1)).not.toThrow();
  expect(() => assertSafeBind(gateway({ host: '0.0.0.0', tlsCaFile: 'ca.pem' }), 0)).not.toThrow();
});
