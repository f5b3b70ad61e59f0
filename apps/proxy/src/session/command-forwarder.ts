import { Command } from '@binnacle/mysql-wire/command';
import { CommandEvent, CommandTracker, hasStatementId, replaceStatementId, statementIdOf } from '@binnacle/mysql-wire/command-tracker';
import { headerBytes, writeHeader } from '@binnacle/mysql-wire/packet-header';
import type { Session } from './session.js';

/** What becomes of a command. */
export const Verdict = {
  forward: 0,
  /** Not yet: the session calls `proceed` when it knows more, and is asked again. */
  wait: 1,
  /** Answered by the session itself, or not at all: its bytes go nowhere. */
  drop: 2,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** How far the command under way has got. */
const Stage = {
  /** None is, or a file of LOAD DATA LOCAL. */
  between: 0,
  /** Its first byte is known, and nothing decided. */
  begun: 1,
  /** Kept back until enough of it is here. */
  gathering: 2,
  /** Here and kept back; nothing decided. */
  whole: 3,
  /** As much of it as counts is here and kept back; nothing decided. */
  cut: 4,
  /** On its way to the backend. */
  open: 5,
  dropping: 6,
} as const;
type Stage = (typeof Stage)[keyof typeof Stage];

const nothing = Buffer.alloc(0);
/** The command code and a statement id. */
const statementIdBytes = 5;

/**
 * What the client sends, on its way to the backend: as it comes, unless somebody has to see a command first, or change it. What is kept back is at
 * most one chunk and the beginning of one command; meanwhile the client is paused.
 */
export class CommandForwarder {
  readonly tracker = new CommandTracker();
  /** The client is paused, and the rest of a chunk kept. */
  stopped = false;

  #chunk: Buffer = nothing;
  #chunkStart = 0;
  #end = 0;
  /** Where what was not forwarded yet begins in the chunk. */
  #from = 0;
  #stage: Stage = Stage.between;
  /** Of the command kept back: what came in earlier chunks, its header included. */
  #gathered: Buffer | undefined;
  /** How many bytes of its payload are to be kept back. */
  #needed = 0;
  #captured = false;
  /** Within a file: what the ids of its packets are lowered by. */
  #sequenceShift = 0;

  constructor(private readonly session: Session) {}

  /** Nothing of an unfinished command or file was forwarded. */
  get atBoundary(): boolean {
    return this.#stage !== Stage.open && !this.tracker.inFile;
  }

  /** Nothing of what the client has sent is kept back, not even half a header. */
  get empty(): boolean {
    return !this.stopped && this.tracker.scanner.betweenPackets;
  }

  /** The server asked for a file. */
  expectFile(sequenceShift: number): void {
    this.#sequenceShift = sequenceShift;
    this.tracker.expectInfile(sequenceShift !== 0);
  }

  /** Gives whether the memory is still in use. Throws `MalformedPacketError`. */
  receive(chunk: Buffer, start: number, end: number): boolean {
    this.#chunk = chunk;
    this.#chunkStart = start;
    this.#from = start;
    this.#end = end;
    this.tracker.feed(chunk, start, end);
    return this.#run();
  }

  /** Goes on with what was kept. Throws `MalformedPacketError`. */
  proceed(): void {
    if (!this.stopped) return;
    this.stopped = false;
    this.#run();
    if (!this.stopped) this.session.commandsGoOn();
  }

  #run(): boolean {
    const { tracker } = this;
    if (this.#stage === Stage.begun && !this.#begin()) return this.#stop();
    if (this.#stage === Stage.whole && !this.#decideWhole()) return this.#stop();
    if (this.#stage === Stage.cut && !this.#decideCut()) return this.#stop();
    for (let event = tracker.next(); event !== CommandEvent.none; event = tracker.next()) {
      if (event === CommandEvent.begin) {
        this.#stage = Stage.begun;
        if (!this.#begin()) return this.#stop();
      } else if (event === CommandEvent.end) {
        if (!this.#ended()) return this.#stop();
      } else if (event === CommandEvent.packet) this.#renumber();
    }
    return this.#usedUp();
  }

  /** Of what came before the command everything goes on: its answers are what is waited for. */
  #stop(): true {
    if (this.#stage === Stage.begun) this.#flush(Math.max(this.tracker.scanner.packetStart, this.#chunkStart));
    this.stopped = true;
    this.session.commandsStop();
    return true;
  }

  /** False: not now. */
  #begin(): boolean {
    const { session, tracker } = this;
    const { command, scanner } = tracker;
    if (!session.mayBegin()) return false;
    this.#needed = session.statementIds.differ && hasStatementId(command) ? statementIdBytes : session.admission.bytesNeeded(command, this.#chunk, scanner, this.#end);
    if (this.#needed === 0) {
      if (!this.#decided(session.admission.admit(command, undefined, 0, 0))) return false;
    } else this.#stage = Stage.gathering;
    const { tap } = session.witness;
    const captured = Math.max(this.#needed, session.witness.bytesWanted(command), tap === undefined ? 0 : 1);
    this.#captured = captured > 0;
    if (this.#captured) tracker.capture(captured);
    tap?.begins(scanner, this.#end - scanner.offset);
    this.#beginsAt(scanner.packetStart);
    return true;
  }

  /** Headers are never forwarded before the command is known: one that came in pieces is written anew. */
  #beginsAt(packetStart: number): void {
    if (packetStart < this.#chunkStart) {
      const header = this.#header(0);
      this.#from = this.tracker.scanner.offset;
      if (this.#stage === Stage.gathering) this.#gathered = header;
      else if (this.#stage === Stage.open) this.session.toBackend(header);
    } else if (this.#stage !== Stage.open) this.#flush(packetStart);
  }

  #header(sequenceId: number): Buffer {
    const header = Buffer.allocUnsafe(headerBytes);
    writeHeader(header, 0, this.tracker.scanner.frameBytes, sequenceId);
    return header;
  }

  #decided(verdict: Verdict): boolean {
    if (verdict !== Verdict.wait) this.#stage = verdict === Verdict.forward ? Stage.open : Stage.dropping;
    return verdict !== Verdict.wait;
  }

  /** The command's last byte has passed. */
  #ended(): boolean {
    if (this.#stage === Stage.gathering) {
      this.#stage = Stage.whole;
      return this.#decideWhole();
    }
    if (this.#stage === Stage.dropping) this.#from = this.tracker.scanner.offset;
    else this.#passed();
    this.#stage = Stage.between;
    return true;
  }

  #passed(): void {
    const { command, scanner } = this.tracker;
    this.session.witness.tap?.passes(command, scanner);
    if (this.#captured) this.session.witness.commandPasses(command, scanner.payload, scanner.payloadStart, scanner.payloadEnd, scanner.payloadCut);
    else this.session.witness.commandPasses(command, nothing, 0, 0, true);
  }

  #decideWhole(): boolean {
    const { command, scanner } = this.tracker;
    const { payload, payloadStart, payloadEnd, offset } = scanner;
    if (!this.#decided(this.session.admission.admit(command, payload, payloadStart, payloadEnd))) return false;
    if (this.#gathered !== undefined) {
      this.#gathered = Buffer.concat([this.#gathered, this.#chunk.subarray(this.#from, offset)]);
      this.#from = offset;
    }
    if (this.#stage === Stage.open) {
      this.#passed();
      this.#release(this.#gathered ?? this.#chunk, this.#gathered === undefined ? scanner.packetStart : 0);
    } else this.#from = offset;
    this.#gathered = undefined;
    this.#stage = Stage.between;
    return true;
  }

  /** Enough of a command is here that goes on in later chunks. */
  #decideCut(): boolean {
    const gathered = this.#gathered!;
    if (!this.#decided(this.session.admission.admit(this.tracker.command, gathered, headerBytes, gathered.length))) return false;
    if (this.#stage === Stage.open) this.#release(gathered, 0);
    this.#gathered = undefined;
    return true;
  }

  /** What was kept back goes on, by its backend's name; in the chunk it goes with the rest. */
  #release(bytes: Buffer, packetStart: number): void {
    const { session } = this;
    const { command } = this.tracker;
    const payloadStart = packetStart + headerBytes;
    const bytesEnd = bytes === this.#gathered ? bytes.length : this.tracker.scanner.offset;
    if (session.statementIds.differ && hasStatementId(command) && bytesEnd - payloadStart >= statementIdBytes) {
      const clientId = statementIdOf(bytes, payloadStart, bytesEnd);
      replaceStatementId(bytes, payloadStart, session.statementIds.backendId(clientId, session.witness.preparing > 0));
      if (command === Command.stmtClose) session.statementIds.closed(clientId);
    }
    if (bytes === this.#gathered) session.toBackend(bytes);
  }

  /** A packet of a file, whose id would be the client's own count. */
  #renumber(): void {
    const { scanner } = this.tracker;
    const at = scanner.offset - headerBytes;
    const sequenceId = (scanner.sequenceId - this.#sequenceShift) & 0xff;
    if (at >= this.#chunkStart) this.#chunk[at + 3] = sequenceId;
    else {
      this.session.toBackend(this.#header(sequenceId));
      this.#from = scanner.offset;
    }
  }

  #flush(end: number): void {
    if (end <= this.#from) return;
    this.session.toBackend(this.#chunk.subarray(this.#from, end));
    this.#from = end;
  }

  #usedUp(): boolean {
    const { scanner } = this.tracker;
    const chunk = this.#chunk;
    if (this.#stage === Stage.gathering) {
      const rest = chunk.subarray(this.#from, this.#end);
      this.#gathered = Buffer.concat(this.#gathered === undefined ? [rest] : [this.#gathered, rest]);
      this.#from = this.#end;
      this.#chunk = nothing;
      if (this.#gathered.length - headerBytes >= this.#needed) {
        this.#stage = Stage.cut;
        if (!this.#decideCut()) return this.#stop();
      }
      return this.session.backend.channel.writesPending;
    }
    if (this.#stage !== Stage.dropping) {
      // Half a header goes on with the rest of it: until then it belongs to nobody. Of a file's, only where it has to be changed.
      const keepsHeader = this.tracker.inFile ? this.#sequenceShift !== 0 : this.#stage === Stage.between;
      this.#flush(keepsHeader ? scanner.offset - scanner.headerBytesPending : scanner.offset);
    }
    this.#chunk = nothing;
    return this.session.backend.channel.writesPending;
  }
}
