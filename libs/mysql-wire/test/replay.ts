import { agreed, type Capabilities } from '../src/capabilities.js';
import { commandName, isAnswered } from '../src/command.js';
import { CommandEvent, CommandTracker } from '../src/command-tracker.js';
import { agreedCompression, CompressionDecoder } from '../src/compression.js';
import { decodeErr } from '../src/err-packet.js';
import { decodeHandshake, decodeHandshakeResponse, encodeHandshake, encodeHandshakeResponse, type Handshake, type HandshakeResponse } from '../src/handshake.js';
import { decodeOk } from '../src/ok-packet.js';
import { headerBytes } from '../src/packet-header.js';
import { ResponseEvent, ResponseTracker } from '../src/response-tracker.js';
import { ResponseTranslator } from '../src/response-translator.js';
import type { SessionChange } from '../src/session-changes.js';
import type { Turn } from './recorded-connection.js';

/** What the trackers made of one connection. */
export interface Followed {
  readonly handshake: Handshake;
  readonly response: HandshakeResponse;
  readonly capabilities: Capabilities;
  /** `COM_QUERY SELECT 1 -> complete 2`, one line an event of the server; session changes behind it. */
  readonly log: string[];
  readonly changes: SessionChange[];
}

interface Login {
  readonly handshake: Handshake;
  readonly response: HandshakeResponse;
  /** What follows the login's last OK. */
  readonly turns: Turn[];
}

function payloadOf(bytes: Buffer): Buffer {
  return bytes.subarray(headerBytes, headerBytes + bytes.readUIntLE(0, 3));
}

function assertSame(encoded: Buffer, recorded: Buffer, what: string): void {
  if (!encoded.equals(recorded)) throw new Error(`${what} does not come out as it went in:\n${recorded.toString('hex')}\n${encoded.toString('hex')}`);
}

/** The login as a proxy reads it: every packet in a turn of its own, up to the OK. */
function login(turns: readonly Turn[]): Login {
  const handshake = decodeHandshake(payloadOf(turns[0]!.bytes));
  assertSame(encodeHandshake(handshake), payloadOf(turns[0]!.bytes), 'handshake');
  const response = decodeHandshakeResponse(payloadOf(turns[1]!.bytes));
  // MariaDB's connector writes a length of 106 in three bytes: what it says is the same, its bytes are not.
  const roundabout = response.attributes?.some(([, value]) => value.startsWith('MariaDB connector/Node'));
  const again = encodeHandshakeResponse(response);
  if (roundabout) assertSame(encodeHandshakeResponse(decodeHandshakeResponse(again)), again, 'handshake response');
  else assertSame(again, payloadOf(turns[1]!.bytes), 'handshake response');
  for (let index = 2; index < turns.length; index++) {
    const { from, bytes } = turns[index]!;
    if (from === 'client') continue;
    const payload = payloadOf(bytes);
    if (payload[0] === 0xff) throw new Error(`login refused: ${decodeErr(payload).message}`);
    if (payload[0] !== 0) continue;
    const rest = { from, bytes: bytes.subarray(headerBytes + payload.length) };
    return { handshake, response, turns: [...(rest.bytes.length > 0 ? [rest] : []), ...turns.slice(index + 1)] };
  }
  throw new Error('no OK ended the login');
}

function opened(turns: readonly Turn[], capabilities: number, cut: (bytes: Buffer) => Buffer[]): Turn[] {
  const algorithm = agreedCompression(capabilities);
  if (algorithm === undefined) return [...turns];
  const decoders = { client: new CompressionDecoder(algorithm), server: new CompressionDecoder(algorithm) };
  return turns.map(({ from, bytes }) => ({ from, bytes: Buffer.concat(cut(bytes).flatMap((chunk) => decoders[from].push(chunk))) }));
}

/**
 * Runs the trackers over a connection, its turns cut by `cut`, as a proxy would: a command is expected when it has passed. Throws where a
 * turn of the server does not end with a command boundary although the client goes on with a command, or where a boundary comes before
 * the server has said everything, unless the client sends commands before their answers (`pipelines`).
 */
export function follow(recorded: readonly Turn[], cut: (bytes: Buffer) => Buffer[], pipelines = false): Followed {
  const { handshake, response, turns } = login(recorded);
  const capabilities = agreed(response, handshake);
  return { handshake, response, capabilities, ...followSession(opened(turns, capabilities.capabilities, cut), capabilities, cut, pipelines) };
}

function followSession(turns: readonly Turn[], capabilities: Capabilities, cut: (bytes: Buffer) => Buffer[], pipelines: boolean): Pick<Followed, 'log' | 'changes'> {
  const commands = new CommandTracker();
  const responses = new ResponseTracker(capabilities);
  const notes: Notes = { log: [], changes: [], texts: [] };
  for (const { from, bytes } of turns) {
    for (const chunk of cut(bytes)) {
      if (from === 'client') fromClient(chunk, commands, responses, notes, pipelines);
      else fromServer(chunk, commands, responses, notes, capabilities.capabilities);
    }
    if (from === 'server' && !pipelines && !responses.scanner.betweenPackets) throw new Error(`a turn ends within a packet: ${notes.texts[0]}`);
  }
  if (!responses.idle) throw new Error(`no boundary at the end of ${notes.texts[0]}`);
  return { log: notes.log, changes: notes.changes };
}

/** The same connection as a client with other capabilities would have seen it through a translator, followed with these capabilities. */
export function followTranslated(recorded: readonly Turn[], client: Capabilities, cut: (bytes: Buffer) => Buffer[]): string[] {
  const { handshake, response, turns } = login(recorded);
  const translator = new ResponseTranslator(agreed(response, handshake), client);
  const commands = new CommandTracker();
  const seen = turns.map(({ from, bytes }): Turn => {
    const chunks = cut(Buffer.from(bytes));
    if (from === 'server') return { from, bytes: Buffer.concat(chunks.flatMap((chunk) => translateChunk(translator, chunk))) };
    for (const chunk of chunks) {
      commands.feed(chunk);
      for (let event = commands.next(); event !== CommandEvent.none; event = commands.next()) if (event === CommandEvent.end) translator.expect(commands.command);
    }
    return { from, bytes };
  });
  return followSession(seen, client, wholeTurns, false).log;
}

function translateChunk(translator: ResponseTranslator, chunk: Buffer): Buffer[] {
  translator.feed(Buffer.from(chunk));
  while (translator.next() !== ResponseEvent.none);
  return translator.take();
}

interface Notes {
  readonly log: string[];
  readonly changes: SessionChange[];
  readonly texts: string[];
}

function fromClient(chunk: Buffer, commands: CommandTracker, responses: ResponseTracker, { texts }: Notes, pipelines: boolean): void {
  commands.feed(chunk);
  for (let event = commands.next(); event !== CommandEvent.none; event = commands.next()) {
    if (event === CommandEvent.begin) {
      if (!pipelines && !responses.idle) throw new Error(`${commandName(commands.command)} begins before ${texts[0]} is complete`);
      commands.capture(60);
    } else if (event === CommandEvent.end && isAnswered(commands.command)) {
      const { payload, payloadStart, payloadEnd } = commands.scanner;
      const text = commands.command === 3 || commands.command === 0x16 ? ` ${payload.toString('latin1', payloadStart + 1, payloadEnd)}` : '';
      texts.push(commandName(commands.command) + text);
      responses.expect(commands.command);
    }
  }
}

function fromServer(chunk: Buffer, commands: CommandTracker, responses: ResponseTracker, notes: Notes, capabilities: number): void {
  responses.feed(chunk);
  for (let event = responses.next(); event !== ResponseEvent.none; event = responses.next()) {
    const name = Object.entries(ResponseEvent).find(([, code]) => code === event)![0];
    const text = notes.texts[0] ?? 'nothing';
    notes.log.push(`${text} -> ${name} ${responses.errorCode === 0 ? responses.statusFlags : `error ${responses.errorCode}`}`);
    if (responses.sessionChanged) {
      const { payload, payloadStart, payloadEnd } = responses.scanner;
      notes.changes.push(...decodeOk(payload, capabilities, payloadStart, payloadEnd).changes);
    }
    if (event === ResponseEvent.infile) commands.expectInfile();
    if (event === ResponseEvent.authentication) commands.expectAuthentication();
    if (event === ResponseEvent.complete) notes.texts.shift();
  }
}

export function wholeTurns(bytes: Buffer): Buffer[] {
  return [bytes];
}
