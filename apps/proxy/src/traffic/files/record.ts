/**
 * One command of one client, as TiProxy's native traffic files have it.
 *
 * Times are whole microseconds since 1970: a number holds them exactly, and what is below (TiProxy writes nanoseconds) never decides anything,
 * because the commands of one connection are in the order of the file.
 */
export interface TrafficRecord {
  /** When the command reached the proxy, in microseconds since 1970. */
  readonly timeUs: number;
  /** Above 0, at most 2^53 - 1. Unique within one folder only. */
  readonly connectionId: number;
  /** The command's byte. */
  readonly command: number;
  /** The packet behind that byte, of all its parts if it was too long for one. When read: a view of what was read; copy what is kept for long. */
  readonly payload: Uint8Array;
  /** What the server called the prepared statement when it was captured. Absent: none, or a file from before TiProxy's main of 2026. */
  readonly capturedStatementId?: number;
  /** Text of the prepared statement; TiProxy's main writes it with COM_STMT_EXECUTE. */
  readonly preparedText?: Uint8Array;
  /** Absent: true. No TiProxy has ever written false. */
  readonly success?: boolean;
  /**
   * Lines of our own, which TiProxy ignores: who the session belongs to from this record on, and which database it is in. With the first record
   * of a connection, and with the reset that stands for COM_CHANGE_USER.
   */
  readonly user?: string;
  /** '': none. */
  readonly database?: string;
  /** Also ours: the collation of the login, by its number. */
  readonly collation?: number;
  /** Also ours: what the client and its server had agreed upon, bits of the handshake. */
  readonly capabilities?: number;
}

/** A record as the reader hands it out. */
export interface ReadRecord extends TrafficRecord {
  /** Which of the merged folders it is from, from 0: connection ids of two folders have nothing to do with each other. */
  readonly source: number;
}

/** What TiProxy calls the commands, by their byte. */
export const commandNames: readonly string[] = [
  'Sleep', 'Quit', 'InitDB', 'Query', 'FieldList', 'CreateDB', 'DropDB', 'Refresh', '(DEPRECATED)Shutdown', 'Statistics', 'ProcessInfo', 'Connect',
  'ProcessKill', 'Debug', 'Ping', 'Time', 'DelayedInsert', 'ChangeUser', 'BinlogDump', 'TableDump', 'ConnectOut', 'RegisterSlave', 'StmtPrepare',
  'StmtExecute', 'StmtSendLongData', 'StmtClose', 'StmtReset', 'SetOption', 'StmtFetch', 'Daemon', 'BinlogDumpGtid', 'ResetConnect',
];

const unnamedPrefix = 'Not a command: ';

export function commandText(command: number): string {
  return commandNames[command] ?? `${unnamedPrefix}${command.toString(16)}`;
}

const commandsByText = new Map(commandNames.map((name, command) => [name, command]));

/** Undefined: no such command. TiProxy itself would send byte 0x20 for it. */
export function commandOf(text: string): number | undefined {
  const named = commandsByText.get(text);
  if (named !== undefined || !text.startsWith(unnamedPrefix)) return named;
  const hexadecimal = text.slice(unnamedPrefix.length);
  return /^[0-9a-f]{1,2}$/i.test(hexadecimal) ? Number.parseInt(hexadecimal, 16) : undefined;
}

/** The time of a connection's next record: they strictly increase, because one version of TiProxy sorts by nothing else. */
export function nextTimeUs(previousUs: number, nowUs: number): number {
  return nowUs > previousUs ? nowUs : previousUs + 1;
}
