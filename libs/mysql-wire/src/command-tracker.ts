import { Command } from './command.js';
import { MalformedPacketError } from './malformed-packet-error.js';
import { PacketScanner, ScanEvent } from './packet-scanner.js';

/** What `CommandTracker.next` came to. */
export const CommandEvent = {
  /** The chunk is used up. */
  none: 0,
  /** A command's first byte is known (`command`): the time to say how much of it to keep, by `capture`. */
  begin: 1,
  /** The command's last byte has passed: `scanner.offset` is right behind it, what was captured is in `scanner.payload`. */
  end: 2,
  /** The empty packet that ends a file of LOAD DATA LOCAL has passed. */
  infileEnd: 3,
  /** A packet of an authentication exchange has passed; its payload is captured. */
  authentication: 4,
  /** Only within a file, with `everyPacket`: a packet's or a frame's header was passed, `scanner.offset` is right behind it. */
  packet: 5,
} as const;
export type CommandEvent = (typeof CommandEvent)[keyof typeof CommandEvent];

const commands = 0;
const infile = 1;
const authentication = 2;

/** A token or an RSA-encrypted password is far shorter. */
const authenticationBytesMax = 65_536;

/**
 * Follows what a client sends after its login: commands, each one packet with sequence id 0, and between them the files of LOAD DATA LOCAL
 * and the replies within COM_CHANGE_USER, which only the server's answers announce. Used as `ResponseTracker`; throws `MalformedPacketError`.
 */
export class CommandTracker {
  readonly scanner: PacketScanner;
  /** Of the command that began last; -1 before the first. */
  command = -1;
  #mode = commands;
  #everyPacket = false;

  constructor(packetBytesMax?: number) {
    this.scanner = new PacketScanner(packetBytesMax);
    this.scanner.expectSequence(0);
  }

  /** At a command boundary: the server asked for a file (`ResponseEvent.infile`). With `everyPacket` for who must give its packets other ids. */
  expectInfile(everyPacket = false): void {
    this.#everyPacket = everyPacket;
    this.scanner.everyFrame = everyPacket;
    this.#expect(infile);
  }

  /** A file is under way, not commands. */
  get inFile(): boolean {
    return this.#mode === infile;
  }

  /** At a command boundary: the next packet is a reply to an authentication packet. */
  expectAuthentication(): void {
    this.#expect(authentication);
  }

  #expect(mode: number): void {
    this.#mode = mode;
    this.scanner.expectSequence(-1);
  }

  /** At `begin`: keep the first `bytesMax` bytes of the command, its code included. */
  capture(bytesMax: number): void {
    this.scanner.capture(bytesMax);
  }

  feed(chunk: Buffer, start?: number, end?: number): void {
    this.scanner.feed(chunk, start, end);
  }

  next(): CommandEvent {
    for (;;) {
      const event = this.scanner.next();
      if (event === ScanEvent.none) return CommandEvent.none;
      if (event === ScanEvent.begin) {
        if (this.#begun()) return CommandEvent.begin;
        if (this.#everyPacket) return CommandEvent.packet;
      } else if (event === ScanEvent.frame) return CommandEvent.packet;
      else {
        const ended = this.#ended();
        if (ended !== CommandEvent.none) return ended;
      }
    }
  }

  #begun(): boolean {
    if (this.#mode === authentication) this.scanner.capture(authenticationBytesMax);
    if (this.#mode !== commands) return false;
    const { firstByte, sequenceId, streamOffset } = this.scanner;
    if (firstByte === -1) throw new MalformedPacketError('command', streamOffset, 'a command code, not an empty packet,');
    // The scanner lets 0xFF through with any id, since servers send errors so; a client's command 0xFF has no such right.
    if (sequenceId !== 0) throw new MalformedPacketError('command', streamOffset, 'sequence id 0');
    this.command = firstByte;
    return true;
  }

  #ended(): CommandEvent {
    const mode = this.#mode;
    if (mode === infile && this.scanner.firstByte !== -1) return CommandEvent.none;
    this.#mode = commands;
    this.#everyPacket = false;
    this.scanner.everyFrame = false;
    this.scanner.expectSequence(0);
    if (mode === infile) return CommandEvent.infileEnd;
    return mode === authentication ? CommandEvent.authentication : CommandEvent.end;
  }
}

/** Of COM_STMT_EXECUTE, FETCH, CLOSE, RESET and SEND_LONG_DATA: the u32 behind the command code. -1 (as 0xFFFFFFFF) means the last one prepared. */
export function statementIdOf(payload: Buffer, start: number, end: number): number {
  if (end - start < 5) throw new MalformedPacketError('command', end - start, 'a statement id');
  return payload.readUInt32LE(start + 1);
}

/** Writes another statement id into such a command, in place. */
export function replaceStatementId(payload: Buffer, start: number, statementId: number): void {
  payload.writeUInt32LE(statementId, start + 1);
}

/** Whether a command's payload begins with a statement id. */
export function hasStatementId(command: number): boolean {
  return (command >= Command.stmtExecute && command <= Command.stmtReset) || command === Command.stmtFetch || command === Command.stmtBulkExecute;
}
