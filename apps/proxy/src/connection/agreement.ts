import { agreed, Capability, has, type Capabilities } from '@binnacle/mysql-wire/capabilities';

const of = (...names: (keyof typeof Capability)[]): number => names.reduce((bits, name) => (bits | Capability[name]) >>> 0, 0);

/** Each side has its own. */
const perSide = of('ssl', 'compress', 'zstdCompression');
/** Not understood by what follows responses, or by nobody any more. */
const never = of('optionalResultsetMetadata', 'multiFactorAuthentication', 'progressObsolete', 'sslVerifyServerCertificate', 'rememberOptions');
/** Without these no login here is possible; every server since 5.7 has them. */
const forLogins = of('protocol41', 'secureConnection', 'pluginAuth');
/** Say how the login itself is written, or what kind of client it is. */
const onlyForLogins = forLogins | of(
  'pluginAuthLenenc', 'mysql', 'longFlag', 'odbc', 'interactive', 'ignoreSigpipe', 'reserved', 'connectWithDatabase', 'connectAttributes', 'canHandleExpiredPasswords',
);

const without = (capabilities: number, bits: number): number => (capabilities & ~bits) >>> 0;

/** What clients are offered in the place of a server that can this: no more than it, except for what the proxy does itself. */
export function offered(server: Capabilities, tls: boolean): Capabilities {
  const own = forLogins | of('pluginAuthLenenc', 'connectWithDatabase', 'compress', 'zstdCompression') | (tls ? Capability.ssl : 0);
  return { capabilities: (without(server.capabilities, perSide | never) | own) >>> 0, mariadbCapabilities: server.mariadbCapabilities };
}

/** What holds between a client and us: compression and TLS are left out, nothing behind the login depends on them. */
export function agreedWithClient(client: Capabilities, offer: Capabilities): Capabilities {
  const both = agreed(client, offer);
  return { ...both, capabilities: without(both.capabilities, perSide) };
}

/** What is asked of a server for a client: what both can, and always the trackers and their way of ending results, whatever the client can. */
export function askedOf(server: Capabilities, client: Capabilities, withAttributes: boolean): Capabilities {
  const both = agreed(client, server);
  const notHere = perSide | never | of('pluginAuthLenenc', 'connectWithDatabase', 'connectAttributes');
  const own = forLogins | of('sessionTrack', 'deprecateEof') | (withAttributes ? Capability.connectAttributes : 0);
  return { ...both, capabilities: (without(both.capabilities, notHere) | (own & server.capabilities)) >>> 0 };
}

/** Whether a server with these can do all that a client was promised: the bytes between them mean the same, and behave so. */
export function canServe(server: Capabilities, client: Capabilities): boolean {
  const needed = without(client.capabilities, perSide | never | onlyForLogins);
  return has(server.capabilities, needed) && has(server.mariadbCapabilities, client.mariadbCapabilities);
}

/** Whether what comes behind the logins of two connections means the same. */
export function sameDialect(one: Capabilities, other: Capabilities): boolean {
  return without(one.capabilities ^ other.capabilities, perSide | onlyForLogins) === 0 && one.mariadbCapabilities === other.mariadbCapabilities;
}

/** Whether a server can log anybody in here at all. */
export function canLogIn(server: Capabilities): boolean {
  return has(server.capabilities, forLogins);
}
