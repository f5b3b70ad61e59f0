import type { Profile } from 'pprof-format';
import { addressName, CallTreeBuilder, grown, noSampleType, sampleTypeIndex, type CallTree, type SampleChoice, type SampleType } from './call-tree.js';
import { readCallTree } from './pprof-reader.js';
import { inflateProfile } from './profile.js';
import { UnreadableProfile } from './unreadable-profile.js';

/** A profile in memory, or its bytes, gzipped or plain; bytes are the faster way. */
export type ProfileSource = Profile | Uint8Array;

/**
 * The call tree of a profile's samples of `sampleType` (its name; absent, the profile's own default or its last one).
 * With `rootLabel`, the value of that label is the lowest frame of the samples that carry it, as with `-tagroot` of go's pprof.
 * Throws UnreadableProfile for bytes that are no profile and RangeError for a sample type that it does not have.
 */
export function callTree(source: ProfileSource, sampleType?: string, rootLabel?: string): CallTree {
  const builder = new CallTreeBuilder();
  const { type, durationNanos } = addSamples(builder, source, { column: 'self', sampleType, rootLabel });
  return builder.finish(type, durationNanos);
}

/** The call tree of two profiles, `base` in the base columns. Throws as `callTree`, and RangeError when the units differ. */
export function callTreeOfBoth(base: ProfileSource, other: ProfileSource, sampleType?: string): CallTree {
  const builder = new CallTreeBuilder();
  const { type, durationNanos } = addSamples(builder, other, { column: 'self', sampleType });
  const { type: baseType } = addSamples(builder, base, { column: 'base', sampleType: sampleType ?? type.type });
  if (baseType.unit !== type.unit) throw new RangeError(`the profiles count ${type.type} in different units: ${baseType.unit}, ${type.unit}`);
  return builder.finish(type, durationNanos);
}

interface Added {
  readonly type: SampleType;
  readonly durationNanos: number;
}

function addSamples(builder: CallTreeBuilder, source: ProfileSource, choice: SampleChoice): Added {
  if (source instanceof Uint8Array) return readCallTree(inflateProfile(source), builder, choice);
  const { column, sampleType, rootLabel } = choice;
  const { strings } = source.stringTable;
  const types = source.sampleType.map(({ type, unit }) => ({ type: strings[Number(type)]!, unit: strings[Number(unit)]! }));
  const index = sampleTypeIndex(types, strings[Number(source.defaultSampleType)] ?? '', sampleType);
  const functions = new Map(source.function.map((entry) => [entry.id, entry]));
  const firstLines = firstLinesOf(source);
  const framesOf = new Map(
    source.location.map((location) => {
      const frames = location.line.map(({ functionId }) => {
        const called = functions.get(functionId);
        if (called === undefined) throw new UnreadableProfile(`it has no function ${functionId}`);
        const name = strings[Number(called.name)] || strings[Number(called.systemName)] || '';
        return builder.frame(name, strings[Number(called.filename)] ?? '', Number(called.startLine) || firstLines.get(functionId)!);
      });
      return [location.id, frames.length > 0 ? frames : [builder.frame(addressName(location.address), '', 0)]];
    }),
  );
  let stack = new Uint32Array(1024);
  for (const { locationId, value, label } of source.sample) {
    let depth = 0;
    for (const id of locationId) {
      const frames = framesOf.get(id);
      if (frames === undefined) throw new UnreadableProfile(`it has no location ${id}`);
      if (depth + frames.length > stack.length) stack = grown(stack, new Uint32Array(2 * (depth + frames.length)));
      for (const frame of frames) stack[depth++] = frame;
    }
    const root = rootLabel === undefined ? undefined : label.find(({ key }) => strings[Number(key)] === rootLabel);
    if (root !== undefined) {
      if (depth === stack.length) stack = grown(stack, new Uint32Array(2 * depth));
      stack[depth++] = builder.labelFrame(rootLabel!, strings[Number(root.str)] ?? '');
    }
    builder.add(stack, depth, Number(value[index] ?? 0), column);
  }
  return { type: types[index] ?? noSampleType, durationNanos: Number(source.durationNanos) };
}

/** By function id, the lowest of its lines in the profile: where it starts, if it does not say so itself. */
function firstLinesOf({ location }: Profile): Map<number | bigint, number> {
  const lines = new Map<number | bigint, number>();
  for (const { line } of location) {
    for (const each of line) lines.set(each.functionId, Math.min(Number(each.line), lines.get(each.functionId) ?? Number(each.line)));
  }
  return lines;
}
