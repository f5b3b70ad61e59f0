import { connect, type Socket } from 'node:net';
import { nativePassword, nativeReply, nativeStage1 } from '../src/auth/native-password.js';
import { decodeAuthSwitch } from '../src/auth-packets.js';
import { Capability, has } from '../src/capabilities.js';
import { isAnswered } from '../src/command.js';
import { agreedCompression, CompressionDecoder, CompressionEncoder, type CompressionAlgorithm } from '../src/compression.js';
import { decodeErr } from '../src/err-packet.js';
import { decodeHandshake, encodeHandshakeResponse } from '../src/handshake.js';
import { framePayload, headerBytes } from '../src/packet-header.js';
import { ResponseEvent, ResponseTracker } from '../src/response-tracker.js';

const waitMs = 10_000;

/** Says what no ordinary client says, one command at a time, and learns from a tracker when the answer is complete. */
export class RawClient {
  readonly #socket: Socket;
  readonly #tracker: ResponseTracker;
  readonly #encoder: CompressionEncoder | undefined;
  #answered: () => void = () => {};
  #failed: (cause: Error) => void = () => {};

  private constructor(socket: Socket, tracker: ResponseTracker, compression: CompressionAlgorithm | undefined) {
    this.#socket = socket;
    this.#tracker = tracker;
    this.#encoder = compression && new CompressionEncoder(compression);
    const decoder = compression && new CompressionDecoder(compression);
    socket.on('data', (chunk: Buffer) => {
      for (const plain of decoder?.push(chunk) ?? [chunk]) this.#follow(plain);
    });
    socket.on('close', () => this.#failed(new Error('the server closed the connection')));
  }

  #follow(plain: Buffer): void {
    this.#tracker.feed(plain);
    for (let event = this.#tracker.next(); event !== ResponseEvent.none; event = this.#tracker.next()) if (event === ResponseEvent.complete) this.#answered();
  }

  /** @param capabilities what is wanted besides what every login needs */
  static async login(port: number, capabilities: number, mariadbCapabilities = 0): Promise<RawClient> {
    const socket = connect({ host: '127.0.0.1', port });
    socket.setTimeout(waitMs, () => socket.destroy());
    const payload = async (): Promise<Buffer> => {
      const chunk = await new Promise<Buffer>((resolve, reject) => {
        socket.once('data', resolve);
        socket.once('close', () => reject(new Error('closed during the login')));
      });
      return chunk.subarray(headerBytes);
    };
    const handshake = decodeHandshake(await payload());
    const stage1 = nativeStage1('root');
    const wanted = capabilities | Capability.protocol41 | Capability.secureConnection | Capability.pluginAuth | Capability.connectWithDatabase;
    const agreed = { capabilities: (wanted & handshake.capabilities) >>> 0, mariadbCapabilities };
    const response = {
      ...agreed, packetBytesMax: 1 << 24, collation: 45, user: 'root', authResponse: nativeReply(stage1, handshake.scramble), database: 'test',
      authPlugin: nativePassword, attributes: undefined, zstdLevel: undefined,
    };
    socket.write(framePayload(encodeHandshakeResponse(response), 1));
    let answer = await payload();
    if (answer[0] === 0xfe) {
      socket.write(framePayload(nativeReply(stage1, decodeAuthSwitch(answer).data), 3));
      answer = await payload();
    }
    if (answer[0] !== 0) throw new Error(decodeErr(answer).message);
    if (!has(agreed.capabilities, capabilities)) throw new Error('the server cannot do what was wanted');
    return new RawClient(socket, new ResponseTracker(agreed), agreedCompression(agreed.capabilities));
  }

  get statementId(): number {
    return this.#tracker.statementId;
  }

  /** Sends a command and waits until its answer, if it has one, is complete: gives the error code, or 0. */
  async send(command: number, body: string | Uint8Array = ''): Promise<number> {
    const bytes = Buffer.from(body as string);
    this.#tracker.expect(command);
    const plain = framePayload(Buffer.concat([Buffer.from([command]), bytes]), 0);
    // Ids of frames begin at 0 with every command, as those of packets do.
    if (this.#encoder) this.#encoder.sequenceId = 0;
    for (const piece of this.#encoder?.encode(plain) ?? [plain]) this.#socket.write(piece);
    if (!isAnswered(command)) return 0;
    await new Promise<void>((resolve, reject) => {
      this.#answered = resolve;
      this.#failed = reject;
    });
    return this.#tracker.errorCode;
  }

  close(): void {
    this.#failed = () => {};
    this.#socket.end();
  }
}
