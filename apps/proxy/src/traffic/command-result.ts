/** What came of one command, in a capture or in a replay: never the data itself. */
export interface CommandResult {
  /** Of the session that sent it, as in the traffic files. */
  readonly connectionId: number;
  /** 1 for the first command of its connection that is in the traffic files, and so on. */
  readonly ordinal: number;
  /** From the command's last byte to its response's last byte. */
  readonly latencyUs: number;
  /** 0: it went well. */
  readonly errorCode: number;
  /** Of all result sets together. */
  readonly rows: number;
  readonly affectedRows: number;
  /** Of the columns' count and all rows in their order; 16 hexadecimal digits. Equal for equal bytes of rows. */
  readonly ordered: string;
  /** The same for rows in any order. */
  readonly unordered: string;
}
