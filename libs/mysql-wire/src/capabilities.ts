/**
 * What client and server agree upon in the handshake: bits of an unsigned 32-bit number. Both sides use the intersection.
 * Source: include/mysql_com.h of MySQL 9 and MariaDB 11. Bit 0 means two things: for MySQL it is CLIENT_LONG_PASSWORD and always set;
 * MariaDB calls it CLIENT_MYSQL, and its absence says that the MariaDB-only bits below are meaningful.
 */
export const Capability = {
  mysql: 1,
  foundRows: 1 << 1,
  longFlag: 1 << 2,
  connectWithDatabase: 1 << 3,
  noSchema: 1 << 4,
  compress: 1 << 5,
  odbc: 1 << 6,
  localFiles: 1 << 7,
  ignoreSpace: 1 << 8,
  protocol41: 1 << 9,
  interactive: 1 << 10,
  ssl: 1 << 11,
  ignoreSigpipe: 1 << 12,
  transactions: 1 << 13,
  reserved: 1 << 14,
  secureConnection: 1 << 15,
  multiStatements: 1 << 16,
  multiResults: 1 << 17,
  psMultiResults: 1 << 18,
  pluginAuth: 1 << 19,
  connectAttributes: 1 << 20,
  pluginAuthLenenc: 1 << 21,
  canHandleExpiredPasswords: 1 << 22,
  sessionTrack: 1 << 23,
  deprecateEof: 1 << 24,
  optionalResultsetMetadata: 1 << 25,
  zstdCompression: 1 << 26,
  queryAttributes: 1 << 27,
  multiFactorAuthentication: 1 << 28,
  /** MariaDB's old bit for progress reports; in MySQL CLIENT_CAPABILITY_EXTENSION, which nobody sets. */
  progressObsolete: 1 << 29,
  sslVerifyServerCertificate: 1 << 30,
  rememberOptions: 2 ** 31,
} as const;

/** MariaDB's further bits: a second unsigned 32-bit number, there only where `Capability.mysql` is not set. */
export const MariadbCapability = {
  progress: 1,
  multiCommand: 1 << 1,
  bulkOperations: 1 << 2,
  extendedMetadata: 1 << 3,
  cacheMetadata: 1 << 4,
  bulkUnitResults: 1 << 5,
} as const;

/** What was agreed upon for one connection, as every part of this library that depends on it wants it. */
export interface Capabilities {
  /** Bits of `Capability`, unsigned. */
  readonly capabilities: number;
  /** Bits of `MariadbCapability`; 0 between MySQLs. */
  readonly mariadbCapabilities: number;
}

/** Whether all `bits` are set. */
export function has(capabilities: number, bits: number): boolean {
  return (capabilities & bits) >>> 0 === bits >>> 0;
}

/** The unsigned intersection: what both sides can. */
export function agreed(client: Capabilities, server: Capabilities): Capabilities {
  return {
    capabilities: (client.capabilities & server.capabilities) >>> 0,
    mariadbCapabilities: (client.mariadbCapabilities & server.mariadbCapabilities) >>> 0,
  };
}
