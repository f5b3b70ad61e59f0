import { Capability } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';
import type { MariadbServer } from '@binnacle/testing/mariadb-server';
import { PacketWriter } from '@binnacle/mysql-wire/packet-writer';
import { answerLines } from './answer-lines.js';
import { modelSchema, parameterType, type ModelStep, type Parameter } from './model-script.js';
import type { ProxyProcess } from './proxy-process.js';
import { WireClient } from './wire-client.js';

/** Kinds of clients: today's, Debian's own and mysql2, one that compresses. A session of the script is always the same. */
const clientCapabilities = [
  Capability.deprecateEof | Capability.sessionTrack | Capability.multiStatements | Capability.multiResults | Capability.psMultiResults | Capability.foundRows,
  Capability.multiStatements | Capability.multiResults | Capability.psMultiResults,
  Capability.deprecateEof | Capability.multiStatements | Capability.multiResults | Capability.psMultiResults | Capability.compress,
];
export const modelSessions = clientCapabilities.length;
/** One order in so many is given although the session says that it cannot move. */
const askedAnyway = 20;

export interface ModelPeers {
  readonly proxy: ProxyProcess;
  /** Backends of the proxy. */
  readonly pair: readonly MariadbServer[];
  /** Has the same kind of data, and no proxy before it. */
  readonly reference: MariadbServer;
}

export interface ModelResult {
  readonly steps: number;
  readonly moved: number;
  readonly refusals: number;
  /** How many of them each code was a reason of. */
  readonly refused: ReadonlyMap<string, number>;
  /** How long clients were held while their session moved, in ms. */
  readonly pausesMs: readonly number[];
  readonly difference: ModelDifference | undefined;
}

export interface ModelDifference {
  readonly step: number;
  readonly direct: readonly string[];
  readonly proxied: readonly string[];
}

/** One client on both ways, and the statements it prepared on each. */
class TwoClients {
  readonly slots = new Map<number, readonly [direct: number, proxied: number]>();

  readonly both: readonly [direct: WireClient, proxied: WireClient];

  constructor(direct: WireClient, proxied: WireClient) {
    this.both = [direct, proxied];
  }

  get id(): number {
    return this.both[1].threadId;
  }

  close(): void {
    for (const client of this.both) client.close();
  }
}

/** Runs a script on both ways from an empty schema until an answer differs. */
export async function runModel(peers: ModelPeers, steps: readonly ModelStep[], progress: (step: number) => void = () => {}): Promise<ModelResult> {
  const schema = modelSchema(modelSessions).map((statement) => `${statement};`).join('\n');
  const declared = `DELIMITER //\n${schema.replaceAll(/;$/gm, '//')}`;
  await Promise.all([peers.pair[0]!.sql(declared), peers.reference.sql(declared)]);
  for (const node of peers.pair) await node.sql('SET SESSION wsrep_sync_wait = 15; SELECT 1 FROM model_a.t0');
  const login = { user: 'root', password: 'root', database: 'model_a' };
  const sessions = await Promise.all(
    clientCapabilities.map(async (capabilities) => {
      // With compression MariaDB counts packets anew from frame to frame, in a way nobody needs to follow.
      const direct = await WireClient.login({ ...login, port: peers.reference.port, capabilities: capabilities & ~Capability.compress });
      return new TwoClients(direct, await WireClient.login({ ...login, port: peers.proxy.port, capabilities }));
    }),
  );
  const run = new ModelRun(peers, sessions);
  try {
    return await run.all(steps, progress);
  } finally {
    for (const session of sessions) session.close();
  }
}

class ModelRun {
  readonly #peers: ModelPeers;
  readonly #sessions: readonly TwoClients[];
  readonly #refused = new Map<string, number>();
  readonly #pausesMs: number[] = [];
  #moved = 0;
  #refusals = 0;
  #asked = 0;

  constructor(peers: ModelPeers, sessions: readonly TwoClients[]) {
    this.#peers = peers;
    this.#sessions = sessions;
  }

  async all(steps: readonly ModelStep[], progress: (step: number) => void): Promise<ModelResult> {
    const moving = new Map<number, Promise<void>>();
    let difference: ModelDifference | undefined;
    let step = 0;
    for (; step < steps.length && difference === undefined; step++) {
      const action = steps[step]!;
      const session = this.#sessions[action.session]!;
      if (action.kind === 'migrate') {
        await moving.get(action.session);
        const move = this.#migrate(session.id);
        if (action.during) moving.set(action.session, move);
        else await move;
      } else {
        difference = await this.#act(session, action, step);
        await moving.get(action.session);
        moving.delete(action.session);
      }
      progress(step);
    }
    await Promise.all(moving.values());
    return { steps: step, moved: this.#moved, refusals: this.#refusals, refused: this.#refused, pausesMs: this.#pausesMs, difference };
  }

  /** To the backend where it is not. What says that it cannot is mostly believed: an order would wait for what may pass. */
  async #migrate(id: number): Promise<void> {
    const { body: session } = await this.#peers.proxy.api('GET', `/api/v1/sessions/${id}`);
    const to = this.#peers.pair.map(({ port }) => `127.0.0.1:${port}`).find((address) => address !== session['backend']);
    this.#asked += 1;
    const believed = session['movable'] === false && this.#asked % askedAnyway !== 0;
    const { status, body } = believed ? { status: 409, body: session } : await this.#peers.proxy.api('POST', `/api/v1/sessions/${id}/migrate`, { to });
    if (status === 200) {
      this.#moved += 1;
      this.#pausesMs.push(Number(body['pauseMs']));
      return;
    }
    const why = (body['why'] as { code: string }[] | undefined)?.map(({ code }) => code) ?? [];
    this.#refusals += 1;
    for (const reason of new Set(why.length > 0 ? why : [`${status} ${String(body['result'] ?? JSON.stringify(body))}`])) this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1);
  }

  async #act(session: TwoClients, action: ModelStep, step: number): Promise<ModelDifference | undefined> {
    const answers = await Promise.all(session.both.map((client, side) => this.#ask(client, side as 0 | 1, session, action).catch((error: Error) => [`broken: ${error.message}`])));
    const [direct, proxied] = answers as [string[], string[]];
    return direct.join('\n') === proxied.join('\n') ? undefined : { step, direct, proxied };
  }

  async #ask(client: WireClient, side: 0 | 1, session: TwoClients, action: ModelStep): Promise<string[]> {
    const { capabilities } = client.capabilities;
    const answer = async (command: number, body: string | Uint8Array = ''): Promise<string[]> => answerLines(command, await client.send(command, body), capabilities);
    const id = 'slot' in action ? (session.slots.get(action.slot)?.[side] ?? 0x7f_ff_ff) : 0;
    switch (action.kind) {
      case 'command':
        return answer(action.command, action.body);
      case 'prepare': {
        const payloads = await client.send(Command.stmtPrepare, action.sql);
        if (payloads[0]![0] === 0) remember(session, action.slot, side, payloads[0]!.readUInt32LE(1));
        return answerLines(Command.stmtPrepare, payloads, capabilities);
      }
      case 'execute':
        return answer(Command.stmtExecute, executeBody(id, action));
      case 'fetch':
        return answer(Command.stmtFetch, new PacketWriter().u32(id).u32(action.rows).finish());
      case 'longData':
        return answer(Command.stmtSendLongData, new PacketWriter().u32(id).u16(action.parameter).string(action.text).finish());
      case 'resetStatement':
        return answer(Command.stmtReset, new PacketWriter().u32(id).finish());
      case 'close':
        return answer(Command.stmtClose, new PacketWriter().u32(id).finish());
      case 'changeUser':
        return answerLines(Command.changeUser, (await client.changeUser(action.user, action.password, action.database)).slice(-1), capabilities);
      case 'migrate':
        return [];
    }
  }
}

function remember(session: TwoClients, slot: number, side: 0 | 1, id: number): void {
  const [direct, proxied] = session.slots.get(slot) ?? [0, 0];
  session.slots.set(slot, side === 0 ? [id, proxied] : [direct, id]);
}

function executeBody(id: number, { cursor, parameters, bindTypes }: { cursor: boolean; parameters: readonly Parameter[]; bindTypes: boolean }): Buffer {
  const writer = new PacketWriter().u32(id).u8(cursor ? 1 : 0).u32(1);
  if (parameters.length === 0) return writer.finish();
  const nulls = Buffer.alloc((parameters.length + 7) >> 3);
  for (const [index, { value }] of parameters.entries()) if (value === null) nulls[index >> 3]! |= 1 << (index & 7);
  writer.bytes(nulls).u8(bindTypes ? 1 : 0);
  if (bindTypes) for (const { type } of parameters) writer.u16(type);
  for (const { type, value, sent } of parameters) if (value !== null && sent === undefined) writeValue(writer, type, value);
  return writer.finish();
}

function writeValue(writer: PacketWriter, type: number, value: string): void {
  const bytes = Buffer.alloc(8);
  if (type === parameterType.tiny) writer.u8(Number(value));
  else if (type === parameterType.long) writer.u32(Number(value) >>> 0);
  else if (type === parameterType.double) {
    bytes.writeDoubleLE(Number(value));
    writer.bytes(bytes);
  } else if (type === parameterType.longlong || type === parameterType.unsignedLonglong) writer.u64(BigInt.asUintN(64, BigInt(value)));
  else writer.lenencBytes(type === parameterType.blob ? Buffer.from(value, 'latin1') : Buffer.from(value));
}

/** The shortest script found within the time that still differs: steps are left out by halves, then quarters, as long as it does. */
export async function shrinkModel(peers: ModelPeers, steps: readonly ModelStep[], timeoutMs: number): Promise<readonly ModelStep[]> {
  const untilMs = performance.now() + timeoutMs;
  const session = steps.at(-1)!.session;
  const fails = async (candidate: readonly ModelStep[]): Promise<boolean> => candidate.length > 0 && (await runModel(peers, candidate)).difference !== undefined;
  const alone = steps.filter((step) => step.session === session);
  let shortest: readonly ModelStep[] = (await fails(alone)) ? alone : steps;
  for (let size = Math.ceil(shortest.length / 2); size >= 1 && performance.now() < untilMs; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < shortest.length && performance.now() < untilMs; ) {
      const candidate = [...shortest.slice(0, at), ...shortest.slice(at + size)];
      if (await fails(candidate)) shortest = candidate;
      else at += size;
    }
  }
  return shortest;
}

/** For people: one line a step. */
export function stepText(step: ModelStep): string {
  const { session, ...action } = step;
  if (action.kind === 'command') return `${session}: ${action.command === Command.query ? action.body : `command ${action.command} ${action.body}`}`;
  return `${session}: ${JSON.stringify(action)}`;
}
