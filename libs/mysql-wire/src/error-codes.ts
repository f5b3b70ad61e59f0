/** An error a proxy may have to say itself: `code` is what clients look at, `sqlState` is always five characters. */
export interface ErrorCode {
  readonly code: number;
  readonly sqlState: string;
}

const at = (code: number, sqlState: string): ErrorCode => ({ code, sqlState });

/** Names and numbers of MySQL's reference, where MariaDB has the same; 2xxx are the numbers clients use for what they notice themselves. */
export const Errors = {
  tooManyConnections: at(1040, '08004'),
  outOfResources: at(1041, 'HY000'),
  badHost: at(1042, '08S01'),
  badHandshake: at(1043, '08S01'),
  databaseAccessDenied: at(1044, '42000'),
  accessDenied: at(1045, '28000'),
  unknownCommand: at(1047, '08S01'),
  unknownDatabase: at(1049, '42000'),
  serverShutdown: at(1053, '08S01'),
  noSuchThread: at(1094, 'HY000'),
  killDenied: at(1095, 'HY000'),
  unknown: at(1105, 'HY000'),
  hostIsBlocked: at(1129, 'HY000'),
  /** What ProxySQL answers for a statement its rules forbid; class 42 tells drivers not to try again. */
  notAllowedCommand: at(1148, '42000'),
  packetTooLarge: at(1153, '08S01'),
  packetsOutOfOrder: at(1156, '08S01'),
  networkReadError: at(1158, '08S01'),
  networkReadInterrupted: at(1159, '08S01'),
  networkWriteError: at(1160, '08S01'),
  tooManyUserConnections: at(1203, '42000'),
  userLimitReached: at(1226, '42000'),
  notSupportedYet: at(1235, '42000'),
  unsupportedAuthentication: at(1251, '08004'),
  optionPreventsStatement: at(1290, 'HY000'),
  queryInterrupted: at(1317, '70100'),
  malformedPacket: at(1835, 'HY000'),
  connectionKilled: at(1927, '70100'),
  secureTransportRequired: at(3159, 'HY000'),
  clientInteractionTimeout: at(4031, 'HY000'),
  serverGone: at(2006, 'HY000'),
  serverLost: at(2013, 'HY000'),
} as const satisfies Record<string, ErrorCode>;

/** In an error packet this is no error but MariaDB's progress report: the response goes on. */
export const progressReportCode = 0xffff;
