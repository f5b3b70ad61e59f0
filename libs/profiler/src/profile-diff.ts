import { Profile, Sample } from 'pprof-format';
import { mergeProfiles } from './profile-merge.js';

/**
 * `other - base`: the samples of `other`, and those of `base` with negative values. The latter carry the label `pprof::base`, by which go's
 * pprof knows them: its percentages are then shares of `base`, as after `-diff_base`. Time and duration are those of `other`.
 * Throws RangeError when the sample types differ.
 */
export function diffProfiles(base: Profile, other: Profile): Profile {
  const difference = mergeProfiles([
    { profile: other, labels: {} },
    { profile: negated(base), labels: { 'pprof::base': 'true' } },
  ]);
  difference.timeNanos = other.timeNanos;
  difference.durationNanos = other.durationNanos;
  return difference;
}

/** The same profile with other samples; it shares the rest, which the merge only reads. */
function negated(profile: Profile): Profile {
  const sample = profile.sample.map(({ locationId, value, label }) => new Sample({ locationId, value: value.map((each) => -each), label }));
  const { periodType, ...others } = profile;
  return new Profile({ ...others, ...(periodType && { periodType }), sample });
}
