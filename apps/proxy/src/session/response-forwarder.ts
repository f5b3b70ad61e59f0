import { replaceStatementId } from '@binnacle/mysql-wire/command-tracker';
import { headerBytes } from '@binnacle/mysql-wire/packet-header';
import { Phase, ResponseEvent, ResponseTracker } from '@binnacle/mysql-wire/response-tracker';
import { needsTranslation, ResponseTranslator } from '@binnacle/mysql-wire/response-translator';
import type { BackendConnection } from '../connection/backend-connection.js';
import type { LoggedInClient } from '../connection/client-connection.js';
import { join, joinedIsInUse } from './joined-bytes.js';
import type { Session } from './session.js';

/** What the backend sends, on its way to the client: as it comes, or in the words of a client that understands less. */
export class ResponseForwarder {
  readonly tracker: ResponseTracker;
  readonly #translator: ResponseTranslator | undefined;
  /** Of an answer to COM_STMT_PREPARE whose id has to be changed: what came in earlier chunks, from its header on. */
  #keptBack: Buffer | undefined;
  #completed = false;

  constructor(
    private readonly session: Session,
    client: LoggedInClient,
    backend: BackendConnection,
  ) {
    this.#translator = needsTranslation(backend.capabilities, client.capabilities) ? new ResponseTranslator(backend.capabilities, client.capabilities) : undefined;
    this.tracker = this.#translator?.tracker ?? new ResponseTracker(backend.capabilities);
  }

  /** What the client was given ends with a packet: something else may be said to it. */
  get atPacketBoundary(): boolean {
    return this.#keptBack !== undefined || (this.#translator?.betweenPackets ?? this.tracker.scanner.betweenPackets);
  }

  /** The client's ids of a response's packets less the backend's. */
  get sequenceShift(): number {
    return this.#translator?.sequenceShift ?? 0;
  }

  /** Of what the client would get next, in its count. */
  get nextSequenceId(): number {
    const { sequenceExpected, sequenceId } = this.tracker.scanner;
    const { inFile, scanner } = this.session.commands.tracker;
    if (inFile && scanner.sequenceExpected !== -1) return scanner.sequenceExpected;
    // A client that was asked for a file sends one packet at least.
    const next = inFile ? sequenceId + 2 : sequenceExpected === -1 ? 1 : sequenceExpected;
    return (next + this.sequenceShift) & 0xff;
  }

  /** Gives whether the memory is still in use. Throws `MalformedPacketError`. */
  receive(chunk: Buffer, start: number, end: number): boolean {
    this.#completed = false;
    const inUse = this.#translator === undefined ? this.#forward(chunk, start, end) : this.#translate(this.#translator, chunk, start, end);
    if (this.#completed) this.session.responsesEnded();
    return inUse;
  }

  #forward(chunk: Buffer, start: number, end: number): boolean {
    const { tracker, session } = this;
    const kept = this.#keptBack;
    const bytes = kept === undefined ? chunk : Buffer.concat([kept, chunk.subarray(start, end)]);
    const shift = kept === undefined ? 0 : kept.length - start;
    this.#keptBack = undefined;
    tracker.feed(chunk, start, end);
    for (;;) {
      const { command } = tracker;
      const event = tracker.next();
      if (event === ResponseEvent.none) break;
      if (event === ResponseEvent.prepared) {
        const clientId = session.witness.prepared(tracker);
        const { payload, payloadStart } = tracker.scanner;
        if (clientId !== tracker.statementId) replaceStatementId(bytes, payload === chunk ? payloadStart + shift : headerBytes, clientId);
      } else this.#on(event, command);
    }
    const from = kept === undefined ? start : 0;
    let to = end + shift;
    if (session.statementIds.differ && tracker.phase === Phase.prepareFirst && !tracker.scanner.betweenPackets) {
      to = tracker.scanner.packetStart + shift;
      this.#keptBack = Buffer.from(bytes.subarray(to, end + shift));
    }
    if (to > from) session.toClient(bytes.subarray(from, to));
    return session.client.channel.writesPending;
  }

  #translate(translator: ResponseTranslator, chunk: Buffer, start: number, end: number): boolean {
    const { tracker, session } = this;
    translator.feed(chunk, start, end);
    for (;;) {
      const { command } = tracker;
      const event = translator.next();
      if (event === ResponseEvent.none) break;
      if (event === ResponseEvent.prepared) {
        const clientId = session.witness.prepared(tracker);
        if (clientId !== tracker.statementId) translator.replaceStatementId(clientId);
      } else this.#on(event, command);
    }
    const pieces = translator.take();
    if (pieces.length === 0) return false;
    session.toClient(pieces.length === 1 ? pieces[0]! : join(pieces));
    const inUse = session.client.channel.writesPending;
    if (inUse && pieces.length > 1) joinedIsInUse();
    return inUse;
  }

  #on(event: ResponseEvent, command: number): void {
    const { session, tracker } = this;
    if (event === ResponseEvent.complete) {
      this.#completed = true;
      session.witness.responseEnded(command, tracker);
    } else if (event === ResponseEvent.result) session.witness.resultEnded(tracker);
    else if (event === ResponseEvent.infile) {
      session.witness.tap?.fileAsked();
      session.fileWanted();
    }
    else if (event === ResponseEvent.unsolicited) session.announced(tracker.errorCode);
  }
}
