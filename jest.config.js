import { fileURLToPath } from 'node:url';

/** One configuration for every project: each runs it with `--rootDir .` in its own folder. */
export default {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/src/**/*.spec.ts', '<rootDir>/test/**/*.spec.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  testEnvironmentOptions: { customExportConditions: ['@binnacle/source', 'node', 'node-addons'] },
  globalSetup: fileURLToPath(new URL('libs/testing/jest/own-temporary-folder.mjs', import.meta.url)),
  transform: {
    '\\.ts$': [
      '@swc/jest',
      {
        module: { type: 'es6' },
        sourceMaps: 'inline',
        jsc: {
          target: 'es2023',
          keepClassNames: true,
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
        },
      },
    ],
  },
  /** For machines that do much else: it costs time only where something hangs. */
  testTimeout: 180_000,
  /** A test that failed may have left something open, for which Jest would wait for ever. */
  forceExit: true,
  passWithNoTests: true,
};
