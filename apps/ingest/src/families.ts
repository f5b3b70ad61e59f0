import { hashed } from '@binnacle/cluster-state/rendezvous';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ExpositionFormat } from './exposition.js';

interface Sample {
  /** Name and labels. */
  readonly identity: string;
  value: number;
}

export interface Family {
  readonly name: string;
  readonly type: string;
  readonly samples: Sample[];
}

/** So that a large exposition does not hold up everything else. */
const samplesPerPiece = 2_000;
const shards = 256;

/** A map that grows copies itself: of many small ones none takes long. */
class LargeMap<Value> {
  readonly #maps = Array.from({ length: shards }, () => new Map<string, Value>());

  get(key: string): Value | undefined {
    return this.#mapOf(key).get(key);
  }

  set(key: string, value: Value): void {
    this.#mapOf(key).set(key, value);
  }

  #mapOf(key: string): Map<string, Value> {
    return this.#maps[(hashed(key) >>> 0) % shards] as Map<string, Value>;
  }
}

/**
 * The families of one exposition. No two samples have one name and the same labels, which readers take for a mistake: of what came to the same by
 * having its name made such as Prometheus takes it, counters are added up, and of anything else the last one counts.
 */
export class Families {
  readonly #families: Family[] = [];
  /** By every name that its samples may have. */
  readonly #byName = new LargeMap<Family>();
  readonly #known = new LargeMap<Sample>();

  constructor(private readonly format: ExpositionFormat) {}

  /** That of this name and type, new if need be; under a longer name where another type has this one. */
  family(wanted: string, type: string): Family {
    const there = this.#byName.get(wanted);
    if (there?.name === wanted && there.type === type) return there;
    const names = this.#suffixes(type).map((suffix) => wanted + suffix);
    if (names.some((name) => this.#byName.get(name) !== undefined)) return this.family(`${wanted}_${type}`, type);
    const family: Family = { name: wanted, type, samples: [] };
    this.#families.push(family);
    for (const name of names) this.#byName.set(name, family);
    return family;
  }

  /** @param labels with their braces; empty where there are none */
  add(family: Family, suffix: string, labels: string, value: number): void {
    const identity = family.name + suffix + labels;
    const known = this.#known.get(identity);
    if (known !== undefined) {
      const isAdded = family.type === 'counter' || suffix === '_count' || suffix === '_sum';
      known.value = isAdded ? known.value + value : value;
      return;
    }
    const sample = { identity, value };
    this.#known.set(identity, sample);
    family.samples.push(sample);
  }

  /** In pieces; every family is whole and comes once, as both formats want it. */
  async *text(): AsyncGenerator<string> {
    let piece: string[] = [];
    for (const { name, type, samples } of this.#families) {
      piece.push(`# TYPE ${name} ${type}\n`);
      for (const { identity, value } of samples) {
        if (piece.push(`${identity} ${numberText(value)}\n`) < samplesPerPiece) continue;
        yield piece.join('');
        await nextTurn();
        piece = [];
      }
    }
    if (this.format === 'openMetrics') piece.push('# EOF\n');
    yield piece.join('');
  }

  #suffixes(type: string): readonly string[] {
    if (type === 'summary') return ['', '_count', '_sum'];
    return type === 'counter' && this.format === 'openMetrics' ? ['', '_total'] : [''];
  }
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}

/** As `text` writes it. */
export function numberOf(text: string): number {
  return text.endsWith('Inf') ? (text.startsWith('-') ? -Infinity : Infinity) : Number(text);
}
