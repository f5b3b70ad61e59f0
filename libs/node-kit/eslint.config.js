import workspace from '../../eslint.config.js';

export default [
  ...workspace,
  { ignores: ['eslint.config.js'] },
  // The examples are written as a service outside of this repository would be.
  { files: ['examples/**'], rules: { '@nx/enforce-module-boundaries': 'off' } },
];
