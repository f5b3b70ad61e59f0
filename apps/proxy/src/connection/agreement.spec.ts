import { expect, test } from '@jest/globals';
import { Capability, has, MariadbCapability, type Capabilities } from '@binnacle/mysql-wire/capabilities';
import { agreedWithClient, askedOf, canLogIn, canServe, offered } from './agreement.js';

const all = 0xff_ff_ff_ff;
const mysql = { capabilities: all, mariadbCapabilities: 0 };
const mariadb = { capabilities: (all & ~Capability.mysql) >>> 0, mariadbCapabilities: 0xff };
const bare = Capability.protocol41 | Capability.secureConnection | Capability.pluginAuth;
const lacking = (server: Capabilities, bits: number): Capabilities => ({ ...server, capabilities: (server.capabilities & ~bits) >>> 0 });

test('clients are offered what the server can, TLS and compression as the proxy can, and nothing that is not followed', () => {
  const offer = offered({ capabilities: bare, mariadbCapabilities: 0 }, false);
  expect(has(offer.capabilities, bare | Capability.compress | Capability.zstdCompression)).toBe(true);
  expect(offer.capabilities & (Capability.ssl | Capability.sessionTrack | Capability.queryAttributes | Capability.multiStatements)).toBe(0);
  expect(offered(mysql, true).capabilities & Capability.ssl).not.toBe(0);
  expect(offered(mysql, true).capabilities & (Capability.optionalResultsetMetadata | Capability.multiFactorAuthentication)).toBe(0);
});

test('the server is asked for its trackers whatever the client can, and for nothing of one side only', () => {
  const client = agreedWithClient({ capabilities: bare | Capability.compress | Capability.ssl | Capability.multiStatements | Capability.queryAttributes, mariadbCapabilities: 0 }, offered(mysql, true));
  expect(client.capabilities & (Capability.compress | Capability.ssl)).toBe(0);
  const asked = askedOf(mysql, client, false).capabilities;
  expect(has(asked, Capability.sessionTrack | Capability.deprecateEof | Capability.multiStatements | Capability.queryAttributes)).toBe(true);
  expect(asked & (Capability.compress | Capability.ssl | Capability.localFiles | Capability.connectAttributes)).toBe(0);
  expect(askedOf(lacking(mysql, Capability.sessionTrack), client, true).capabilities & (Capability.sessionTrack | Capability.connectAttributes)).toBe(Capability.connectAttributes);
});

test("MariaDB's further bits pass between MariaDB and its own clients only", () => {
  const own = { capabilities: bare, mariadbCapabilities: MariadbCapability.bulkOperations | MariadbCapability.cacheMetadata };
  expect(askedOf(mariadb, agreedWithClient(own, offered(mariadb, false)), false).mariadbCapabilities).toBe(own.mariadbCapabilities);
  expect(canServe(mysql, own)).toBe(false);
  expect(canServe(mariadb, own)).toBe(true);
});

test('a server serves a client if it can all that the client was promised, its login aside', () => {
  const client = agreedWithClient(mysql, offered(mysql, true));
  expect(canServe(lacking(mysql, Capability.ssl | Capability.compress | Capability.connectAttributes | Capability.interactive | Capability.pluginAuthLenenc), client)).toBe(true);
  for (const bit of [Capability.queryAttributes, Capability.multiStatements, Capability.sessionTrack, Capability.deprecateEof, Capability.localFiles]) {
    expect(canServe(lacking(mysql, bit), client)).toBe(false);
  }
  expect(canLogIn(lacking(mysql, Capability.pluginAuthLenenc))).toBe(true);
  expect(canLogIn(lacking(mysql, Capability.pluginAuth))).toBe(false);
});
