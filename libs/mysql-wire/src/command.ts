/** The first byte of what a client sends at a command boundary. Source: include/my_command.h of MySQL, include/mysql_com.h of MariaDB. */
export const Command = {
  sleep: 0x00,
  quit: 0x01,
  initDb: 0x02,
  query: 0x03,
  fieldList: 0x04,
  createDb: 0x05,
  dropDb: 0x06,
  refresh: 0x07,
  shutdown: 0x08,
  statistics: 0x09,
  processInfo: 0x0a,
  connect: 0x0b,
  processKill: 0x0c,
  debug: 0x0d,
  ping: 0x0e,
  time: 0x0f,
  delayedInsert: 0x10,
  changeUser: 0x11,
  binlogDump: 0x12,
  tableDump: 0x13,
  connectOut: 0x14,
  registerSlave: 0x15,
  stmtPrepare: 0x16,
  stmtExecute: 0x17,
  stmtSendLongData: 0x18,
  stmtClose: 0x19,
  stmtReset: 0x1a,
  setOption: 0x1b,
  stmtFetch: 0x1c,
  daemon: 0x1d,
  binlogDumpGtid: 0x1e,
  resetConnection: 0x1f,
  clone: 0x20,
  subscribeGroupReplicationStream: 0x21,
  /** MariaDB: one statement with many sets of parameters. */
  stmtBulkExecute: 0xfa,
  slaveWorker: 0xfb,
  slaveIo: 0xfc,
  slaveSql: 0xfd,
  multi: 0xfe,
} as const;
export type Command = (typeof Command)[keyof typeof Command];

const names = new Map<number, string>(
  Object.entries(Command).map(([name, code]) => [code, `COM_${name.replace(/[A-Z]/g, '_$&').toUpperCase()}`]),
);

/** `COM_STMT_EXECUTE`; for a byte that is no command `COM_UNKNOWN`. Labels of metrics must be few: they are. */
export function commandName(code: number): string {
  return names.get(code) ?? 'COM_UNKNOWN';
}

/** False for the three commands that a server never answers, not even with an error. */
export function isAnswered(command: number): boolean {
  return command !== Command.quit && command !== Command.stmtClose && command !== Command.stmtSendLongData;
}
