/*
 * For trials in a process of their own: what a test imports as `./x.js` is `./x.ts` there. Node.js strips the types itself; libraries come as they are built.
 */
import { existsSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

registerHooks({
  resolve(specifier, context, nextResolve) {
    const source = specifier.startsWith('.') && specifier.endsWith('.js') ? new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL) : undefined;
    return nextResolve(source !== undefined && existsSync(fileURLToPath(source)) ? source.href : specifier, context);
  },
});
