import { PacketReader } from './packet-reader.js';

const systemVariables = 0;
const schema = 1;
const stateChange = 2;
const gtids = 3;
const transactionCharacteristics = 4;
const transactionState = 5;

/** One entry of what an OK packet tells of the session, with SESSION_TRACK. Text is UTF-8. */
export type SessionChange =
  | { readonly kind: 'systemVariable'; readonly name: string; readonly value: string }
  | { readonly kind: 'schema'; readonly name: string }
  /** Something changed that no other tracker reports: a user variable, a temporary table, a prepared statement. */
  | { readonly kind: 'state'; readonly changed: boolean }
  /** As the server prints it; `encoding` is 0 in every server so far. */
  | { readonly kind: 'gtids'; readonly encoding: number; readonly gtids: string }
  /** The statements that would begin the same transaction; empty when there is nothing pending. */
  | { readonly kind: 'transactionCharacteristics'; readonly statements: string }
  /** Eight characters: see `parseTransactionState`. */
  | { readonly kind: 'transactionState'; readonly state: string }
  | { readonly kind: 'unknown'; readonly type: number; readonly data: Buffer };

/** @throws MalformedPacketError */
export function decodeSessionChanges(bytes: Buffer): SessionChange[] {
  const outer = new PacketReader(bytes, 'session changes');
  const changes: SessionChange[] = [];
  while (outer.left > 0) {
    const type = outer.u8('type');
    const reader = new PacketReader(outer.lenencBytes('entry'), 'session change');
    if (type === systemVariables) {
      // MySQL writes one variable an entry; MariaDB may put several into one.
      do changes.push({ kind: 'systemVariable', name: reader.lenencString('name'), value: reader.lenencString('value') });
      while (reader.left > 0);
    } else changes.push(decodeOne(type, reader));
  }
  return changes;
}

function decodeOne(type: number, reader: PacketReader): SessionChange {
  switch (type) {
    case schema:
      return { kind: 'schema', name: reader.lenencString('schema') };
    case stateChange:
      // MySQL writes a string of one character, MariaDB the character alone.
      return { kind: 'state', changed: reader.rest().at(-1) === 0x31 };
    case gtids:
      return { kind: 'gtids', encoding: reader.u8('encoding'), gtids: reader.lenencString('GTIDs') };
    case transactionCharacteristics:
      return { kind: 'transactionCharacteristics', statements: reader.lenencString('characteristics') };
    case transactionState:
      return { kind: 'transactionState', state: reader.lenencString('transaction state') };
    default:
      return { kind: 'unknown', type, data: reader.rest() };
  }
}

/** What the eight characters of a transaction state mean. */
export interface TransactionState {
  /** No transaction, one begun by BEGIN, or one begun by a statement while autocommit is off. */
  readonly transaction: 'none' | 'explicit' | 'implicit';
  readonly readsUnsafe: boolean;
  readonly readsTransactional: boolean;
  readonly writesUnsafe: boolean;
  readonly writesTransactional: boolean;
  readonly unsafeStatement: boolean;
  readonly resultSet: boolean;
  readonly lockedTables: boolean;
}

/** Undefined if it is none of the strings servers send, such as `T_______` or `I_R_____`; the caller then assumes the worst. */
export function parseTransactionState(state: string): TransactionState | undefined {
  if (!/^[TI_][r_][R_][w_][W_][s_][S_][L_]$/.test(state)) return undefined;
  return {
    transaction: state[0] === 'T' ? 'explicit' : state[0] === 'I' ? 'implicit' : 'none',
    readsUnsafe: state[1] === 'r',
    readsTransactional: state[2] === 'R',
    writesUnsafe: state[3] === 'w',
    writesTransactional: state[4] === 'W',
    unsafeStatement: state[5] === 's',
    resultSet: state[6] === 'S',
    lockedTables: state[7] === 'L',
  };
}
