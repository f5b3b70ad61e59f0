import nx from '@nx/eslint-plugin';
import typescript from 'typescript-eslint';

const everyApp = ['gateway', 'profiling', 'storage', 'cluster', 'health', 'ingest', 'proxy'].map((app) => `scope:${app}`);

const boundaries = [
  { sourceTag: 'type:lib', onlyDependOnLibsWithTags: ['type:lib'] },
  { sourceTag: 'type:app', onlyDependOnLibsWithTags: ['type:lib'] },
  { sourceTag: 'type:cli', onlyDependOnLibsWithTags: ['type:lib', ...everyApp] },
];

/** Importing a folder's index hides where a thing lives: every import names the file. */
const noBarrels = {
  selector: "Program:has(ExportAllDeclaration)",
  message: 'No barrels: import from the file that defines the thing.',
};

export default typescript.config(
  { ignores: ['**/dist/**', '**/node_modules/**', '**/data/**'] },
  ...typescript.configs.recommended,
  { plugins: { '@nx': nx } },
  {
    files: ['**/*.ts', '**/*.mjs', '**/*.js'],
    rules: {
      '@nx/enforce-module-boundaries': ['error', { allow: [], enforceBuildableLibDependency: true, depConstraints: boundaries }],
      'no-restricted-syntax': ['error', noBarrels],
      'max-lines': ['warn', { max: 400, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['warn', { max: 70, skipBlankLines: true, skipComments: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      eqeqeq: 'error',
    },
  },
  { files: ['**/*.spec.ts', '**/*.bench.ts', '**/*.contract.ts'], rules: { 'max-lines-per-function': 'off' } },
  { files: ['libs/mysql-wire/**', 'libs/profiler/**'], rules: { 'no-restricted-imports': ['error', { patterns: ['@nestjs/*'] }] } },
);
