/** In COM_STMT_EXECUTE of MariaDB's clients: the statement that was prepared last, whatever its id. */
export const lastPrepared = 0xff_ff_ff_ff;
/** Servers count from 1: a command with this id is refused by every one of them. */
const noStatement = 0;
/** Far beyond what a server gives out, so that ids from before a move and from after it never meet. */
const ownIdsFrom = 0x40_00_00_00;

/**
 * The client's ids of prepared statements and the backend's. They are the same until the session moves; from then on the client is told ids of
 * the proxy's own.
 */
export class StatementIds {
  #backendIds: Map<number, number> | undefined;
  #nextOwnId = ownIdsFrom;
  /** The client's id of what was prepared last, where that can be asked for after a move; `noStatement` otherwise. */
  #last = noStatement;

  /** False as long as ids are the same on both sides: nothing has to be looked at. */
  get differ(): boolean {
    return this.#backendIds !== undefined;
  }

  /** A statement was prepared: gives the id that the client is told. */
  prepared(backendId: number): number {
    this.#last = this.#backendIds === undefined ? backendId : this.#nextOwnId++;
    this.#backendIds?.set(this.#last, backendId);
    return this.#last;
  }

  /** A COM_STMT_PREPARE failed: what "the last one" then means is up to the server. */
  prepareFailed(): void {
    this.#last = noStatement;
  }

  /**
   * What the backend calls the statement. Of one that the client does not have: an id that no server knows.
   * @param preparing a COM_STMT_PREPARE is on its way before this command: that one is the last
   */
  backendId(clientId: number, preparing: boolean): number {
    if (this.#backendIds === undefined || (preparing && clientId === lastPrepared)) return clientId;
    if (clientId !== lastPrepared) return this.#backendIds.get(clientId) ?? noStatement;
    return this.#last === noStatement ? lastPrepared : (this.#backendIds.get(this.#last) ?? noStatement);
  }

  closed(clientId: number): void {
    this.#backendIds?.delete(clientId);
    if (clientId === this.#last) this.#last = noStatement;
  }

  /** The session was reset: no statement is left. */
  clear(): void {
    this.#backendIds?.clear();
    this.#last = noStatement;
  }

  /** The session has moved: every statement has a new id there. */
  moved(statements: ReadonlyMap<number, number>): void {
    this.#backendIds = new Map(statements);
  }
}
