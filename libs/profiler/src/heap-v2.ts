import { Profile, StringTable } from 'pprof-format';

const dumpCharactersMax = 128 * 1024 * 1024;

interface Stack {
  /** Call sites, leaf first. */
  readonly addresses: readonly bigint[];
  readonly objects: number;
  readonly bytes: number;
}

interface Mapping {
  readonly start: bigint;
  readonly end: bigint;
  readonly fileOffset: bigint;
  readonly path: string;
}

interface HeapDump {
  /** Mean bytes between two samples. */
  readonly samplingBytes: number;
  readonly stacks: readonly Stack[];
  readonly mappings: readonly Mapping[];
}

/** The addresses that `heapV2ToProfile` will ask the names of: each once, inside the calls and not after them. */
export function addressesOf(dump: string): bigint[] {
  return [...new Set(parse(dump).stacks.flatMap(({ addresses }) => addresses))];
}

/**
 * jemalloc's heap profile (heap_v2) as pprof: inuse_objects and inuse_space, estimated from the samples. Throws where the text is not
 * a whole dump.
 */
export function heapV2ToProfile(dump: string, symbolOf: (address: bigint) => string): Profile {
  const { samplingBytes, stacks, mappings } = parse(dump);
  const strings = new StringTable();
  const type = (name: string, unit: string) => ({ type: strings.dedup(name), unit: strings.dedup(unit) });
  const frames = new Frames(strings, mappings, symbolOf);
  return new Profile({
    sampleType: [type('inuse_objects', 'count'), type('inuse_space', 'bytes')],
    sample: stacks.map(({ addresses, objects, bytes }) => ({
      locationId: addresses.map((address) => frames.locationOf(address)),
      value: [Math.round(objects), Math.round(bytes)],
    })),
    mapping: mappings.map(({ start, end, fileOffset, path }, index) => ({
      id: index + 1,
      memoryStart: start,
      memoryLimit: end,
      fileOffset,
      filename: strings.dedup(path),
      hasFunctions: true,
    })),
    location: frames.locations,
    function: frames.functions,
    stringTable: strings,
    periodType: type('space', 'bytes'),
    period: samplingBytes,
    timeNanos: BigInt(Date.now()) * 1_000_000n,
  });
}

/** Locations and functions of a profile, each once. */
class Frames {
  readonly locations: { id: number; mappingId: number; address: bigint; line: { functionId: number }[] }[] = [];
  readonly functions: { id: number; name: number; systemName: number; filename: number }[] = [];
  readonly #locationIds = new Map<bigint, number>();
  readonly #functionIds = new Map<string, number>();

  readonly #strings: StringTable;
  readonly #mappings: readonly Mapping[];
  readonly #symbolOf: (address: bigint) => string;

  constructor(strings: StringTable, mappings: readonly Mapping[], symbolOf: (address: bigint) => string) {
    this.#strings = strings;
    this.#mappings = mappings;
    this.#symbolOf = symbolOf;
  }

  locationOf(address: bigint): number {
    const known = this.#locationIds.get(address);
    if (known !== undefined) return known;
    const id = this.locations.length + 1;
    const mappingId = this.#mappings.findIndex((mapping) => contains(mapping, address)) + 1;
    this.locations.push({ id, mappingId, address, line: [{ functionId: this.#functionOf(address, mappingId) }] });
    this.#locationIds.set(address, id);
    return id;
  }

  #functionOf(address: bigint, mappingId: number): number {
    const path = this.#mappings[mappingId - 1]?.path ?? '';
    const symbol = this.#symbolOf(address);
    // Which library it is says more than nothing.
    const name = symbol === '??' && path !== '' ? `[${path.slice(path.lastIndexOf('/') + 1)}]` : symbol;
    const key = `${mappingId} ${name}`;
    let id = this.#functionIds.get(key);
    if (id === undefined) {
      id = this.functions.length + 1;
      const nameIndex = this.#strings.dedup(name);
      this.functions.push({ id, name: nameIndex, systemName: nameIndex, filename: this.#strings.dedup(path) });
      this.#functionIds.set(key, id);
    }
    return id;
  }
}

function contains({ start, end }: Mapping, address: bigint): boolean {
  return address >= start && address < end;
}

function parse(dump: string): HeapDump {
  if (dump.length > dumpCharactersMax) throw new Error(`the heap dump has ${dump.length} characters, the limit is ${dumpCharactersMax}`);
  const header = /^heap_v2\/([1-9]\d{0,15})\n/.exec(dump);
  if (header === null) throw new Error('not a heap dump of jemalloc: it does not begin with heap_v2/ and a sampling rate');
  const samplingBytes = Number(header[1]);
  const mapsTitle = '\nMAPPED_LIBRARIES:\n';
  const mapsAt = dump.indexOf(mapsTitle);
  if (mapsAt < 0) throw new Error('the heap dump is cut short: it has no MAPPED_LIBRARIES');
  const mappings = parseMappings(dump.slice(mapsAt + mapsTitle.length));
  const allocator = mappings.filter(({ path }) => /\/libjemalloc[^/]*$/.test(path));
  const stacks: Stack[] = [];
  const blocks = /^@((?: 0x[0-9a-f]{1,16})*) *\n {2}t\*: (\d+): (\d+) \[/gm;
  let expectedAt = dump.indexOf('\n@');
  for (const block of dump.slice(0, mapsAt).matchAll(blocks)) {
    // Every stack that is there has to be one that was understood.
    if (block.index !== expectedAt + 1) break;
    expectedAt = dump.indexOf('\n@', block.index);
    const [, addresses = '', objects, bytes] = block;
    stacks.push({ addresses: callSites(addresses, allocator), ...unscale(Number(objects), Number(bytes), samplingBytes) });
  }
  if (expectedAt >= 0 && expectedAt < mapsAt) throw new Error(`the heap dump is corrupt at character ${expectedAt + 1}`);
  return { samplingBytes, stacks: stacks.filter(({ objects }) => objects > 0), mappings };
}

/** An address in a stack is where the call returns to, which may be another line, or another function. */
function callSites(text: string, allocator: readonly Mapping[]): bigint[] {
  const sites = text.split(' ').filter((each) => each !== '' && each !== '0x0').map((each) => BigInt(each) - 1n);
  // The first frames are jemalloc's own, down to `malloc`: what they were called by is what holds the memory.
  const caller = sites.findIndex((site) => !allocator.some((mapping) => contains(mapping, site)));
  return caller < 0 ? sites.slice(-1) : sites.slice(caller);
}

/** An allocation is sampled with the probability 1 - exp(-size / rate): the larger, the likelier. */
function unscale(objects: number, bytes: number, samplingBytes: number): { objects: number; bytes: number } {
  if (objects === 0) return { objects: 0, bytes: 0 };
  const scale = 1 / (1 - Math.exp(-(bytes / objects) / samplingBytes));
  return { objects: objects * scale, bytes: bytes * scale };
}

function parseMappings(maps: string): Mapping[] {
  return [...maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) ..x. ([0-9a-f]+) \S+ \d+ +(\/.*)$/gm)].map(([, start, end, fileOffset, path = '']) => ({
    start: BigInt(`0x${start}`),
    end: BigInt(`0x${end}`),
    fileOffset: BigInt(`0x${fileOffset}`),
    path,
  }));
}
