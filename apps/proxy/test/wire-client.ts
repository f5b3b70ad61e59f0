import { connect, type Socket } from 'node:net';
import { decodeAuthSwitch } from '@binnacle/mysql-wire/auth-packets';
import { nativePassword, nativeReply, nativeStage1 } from '@binnacle/mysql-wire/auth/native-password';
import { agreed, Capability, has, type Capabilities } from '@binnacle/mysql-wire/capabilities';
import { Command, isAnswered } from '@binnacle/mysql-wire/command';
import { agreedCompression, CompressionDecoder, CompressionEncoder } from '@binnacle/mysql-wire/compression';
import { decodeErr } from '@binnacle/mysql-wire/err-packet';
import { decodeHandshake, encodeChangeUser, encodeHandshakeResponse } from '@binnacle/mysql-wire/handshake';
import { framePayload, headerBytes, payloadBytesMax } from '@binnacle/mysql-wire/packet-header';
import { ResponseEvent, ResponseTracker } from '@binnacle/mysql-wire/response-tracker';

export interface WireLogin {
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database?: string;
  /** Bits of `Capability` besides what every login needs. */
  readonly capabilities: number;
  readonly collation?: number;
}

const waitMs = 30_000;
const always = Capability.mysql | Capability.protocol41 | Capability.secureConnection | Capability.pluginAuth | Capability.connectWithDatabase | Capability.transactions | Capability.longFlag;

/** Says what no driver says and hears every packet as it came: one command at a time, whole payloads in order. */
export class WireClient {
  readonly capabilities: Capabilities;
  /** The connection id of the greeting. */
  readonly threadId: number;
  readonly #socket: Socket;
  readonly #tracker: ResponseTracker;
  readonly #encoder: CompressionEncoder | undefined;
  #received: Buffer[] = [];
  #scramble: Buffer;
  #password: string;
  #answered: (payloads: Buffer[]) => void = () => {};
  #failed: (cause: Error) => void = () => {};
  #closedBy: Error | undefined;

  private constructor(socket: Socket, capabilities: Capabilities, greeted: { threadId: number; scramble: Buffer; password: string }) {
    this.#socket = socket;
    this.capabilities = capabilities;
    this.threadId = greeted.threadId;
    this.#scramble = greeted.scramble;
    this.#password = greeted.password;
    this.#tracker = new ResponseTracker(capabilities);
    const compression = agreedCompression(capabilities.capabilities);
    this.#encoder = compression && new CompressionEncoder(compression);
    const decoder = compression && new CompressionDecoder(compression);
    const fail = (cause: Error): void => {
      this.#closedBy ??= cause;
      this.#failed(cause);
    };
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const plain of decoder?.push(chunk) ?? [chunk]) this.#follow(plain);
      } catch (error) {
        fail(error as Error);
      }
    });
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('the server closed the connection')));
  }

  /** Rejects with the server's error as `code state message`. */
  static async login(login: WireLogin): Promise<WireClient> {
    const socket = connect({ host: '127.0.0.1', port: login.port, noDelay: true });
    socket.setTimeout(waitMs, () => socket.destroy());
    let left = Buffer.alloc(0);
    const payload = async (): Promise<Buffer> => {
      while (left.length < headerBytes || left.length < headerBytes + left.readUIntLE(0, 3)) left = Buffer.concat([left, await nextChunk(socket)]);
      const end = headerBytes + left.readUIntLE(0, 3);
      const whole = left.subarray(headerBytes, end);
      left = left.subarray(end);
      if (whole[0] === 0xff) {
        socket.destroy();
        throw new Error(errorText(whole));
      }
      return whole;
    };
    const handshake = decodeHandshake(await payload());
    const capabilities = agreed({ capabilities: (login.capabilities | always) >>> 0, mariadbCapabilities: 0 }, handshake);
    const stage1 = nativeStage1(login.password);
    const reply = (scramble: Buffer): Buffer => (login.password === '' ? Buffer.alloc(0) : nativeReply(stage1, scramble));
    let { scramble } = handshake;
    const response = {
      ...capabilities, packetBytesMax: 1 << 30, collation: login.collation ?? 45, user: login.user, authResponse: reply(scramble), database: login.database ?? '',
      authPlugin: nativePassword, attributes: [['program_name', 'wire-client']] as const, zstdLevel: 3,
    };
    socket.write(framePayload(encodeHandshakeResponse(response), 1));
    let answer = await payload();
    if (answer[0] === 0xfe) {
      scramble = Buffer.from(decodeAuthSwitch(answer).data);
      socket.write(framePayload(reply(scramble), 3));
      answer = await payload();
    }
    return new WireClient(socket, capabilities, { threadId: handshake.connectionId, scramble: Buffer.from(scramble), password: login.password });
  }

  #follow(plain: Buffer): void {
    this.#received.push(Buffer.from(plain));
    this.#tracker.feed(plain);
    for (let event = this.#tracker.next(); event !== ResponseEvent.none; event = this.#tracker.next()) {
      if (event === ResponseEvent.authentication) this.#authenticate();
      if (event === ResponseEvent.unsolicited) this.#failed(new Error('an error that no command asked for'));
      if (event === ResponseEvent.complete) {
        const received = Buffer.concat(this.#received);
        this.#received = [];
        this.#answered(payloadsOf(received));
      }
    }
  }

  /** COM_CHANGE_USER: the server's new scramble is what the reply is made from. */
  #authenticate(): void {
    const payload = payloadsOf(Buffer.concat(this.#received)).at(-1)!;
    if (payload[0] !== 0xfe) return;
    this.#scramble = Buffer.from(decodeAuthSwitch(payload).data);
    const reply = this.#password === '' ? Buffer.alloc(0) : nativeReply(nativeStage1(this.#password), this.#scramble);
    this.#write(framePayload(reply, this.#tracker.scanner.sequenceId + 1), this.#tracker.scanner.sequenceId + 1);
  }

  #write(plain: Buffer, sequenceId: number): void {
    // Ids of compressed frames begin at 0 with every command, as those of packets do.
    if (this.#encoder) this.#encoder.sequenceId = sequenceId;
    for (const piece of this.#encoder?.encode(plain) ?? [plain]) this.#socket.write(piece);
  }

  /** Sends a command; its answer's payloads, none where it has no answer. Rejects when the connection breaks. */
  async send(command: number, body: string | Uint8Array = ''): Promise<Buffer[]> {
    if (this.#closedBy !== undefined) throw this.#closedBy;
    this.#tracker.expect(command);
    this.#write(framePayload(Buffer.concat([Buffer.from([command]), Buffer.from(body as string)]), 0), 0);
    if (!isAnswered(command)) return [];
    return new Promise<Buffer[]>((resolve, reject) => {
      this.#answered = resolve;
      this.#failed = reject;
    });
  }

  async changeUser(user: string, password: string, database: string): Promise<Buffer[]> {
    this.#password = password;
    const authResponse = password === '' ? Buffer.alloc(0) : nativeReply(nativeStage1(password), this.#scramble);
    const change = { user, authResponse, database, collation: 45, authPlugin: nativePassword, attributes: undefined };
    return this.send(Command.changeUser, encodeChangeUser(change, this.capabilities.capabilities).subarray(1));
  }

  get deprecatesEof(): boolean {
    return has(this.capabilities.capabilities, Capability.deprecateEof);
  }

  close(): void {
    this.#failed = () => {};
    this.#socket.destroy();
  }
}

/** `1045 28000 Access denied ...`, of an ERR payload. */
export function errorText(payload: Buffer): string {
  const { code, sqlState, message } = decodeErr(payload);
  return `${code} ${sqlState} ${message}`;
}

async function nextChunk(socket: Socket): Promise<Buffer> {
  return new Promise<Buffer>((resolve, reject) => {
    const stop = (): void => {
      socket.off('data', onData).off('close', onClose).off('error', onClose);
    };
    const onData = (chunk: Buffer): void => {
      stop();
      resolve(chunk);
    };
    const onClose = (): void => {
      stop();
      reject(new Error('the server closed the connection during the login'));
    };
    socket.on('data', onData).on('close', onClose).on('error', onClose);
  });
}

/** Payloads of whole packets; frames of 16 MB and more are joined. */
function payloadsOf(bytes: Buffer): Buffer[] {
  const payloads: Buffer[] = [];
  for (let at = 0, joined: Buffer[] = []; at + headerBytes <= bytes.length; ) {
    const length = bytes.readUIntLE(at, 3);
    joined.push(bytes.subarray(at + headerBytes, at + headerBytes + length));
    at += headerBytes + length;
    if (length === payloadBytesMax) continue;
    payloads.push(joined.length === 1 ? joined[0]! : Buffer.concat(joined));
    joined = [];
  }
  return payloads;
}
