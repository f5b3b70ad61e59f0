import { Command } from '@binnacle/mysql-wire/command';

/** The connection becomes a stream of the server's log. */
export const forReplication: ReadonlySet<number> = new Set([
  Command.binlogDump, Command.binlogDumpGtid, Command.registerSlave, Command.tableDump, Command.clone, Command.subscribeGroupReplicationStream,
]);
/** They leave nothing in the session, or only what `SessionState` follows. */
export const harmless: ReadonlySet<number> = new Set([
  Command.quit, Command.initDb, Command.fieldList, Command.createDb, Command.dropDb, Command.refresh, Command.shutdown, Command.statistics,
  Command.processInfo, Command.processKill, Command.debug, Command.ping, Command.time, Command.setOption, Command.stmtFetch, Command.stmtReset,
  Command.resetConnection, Command.changeUser, Command.stmtClose, Command.stmtSendLongData,
]);
