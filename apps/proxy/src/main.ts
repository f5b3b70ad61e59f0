#!/usr/bin/env node
import { runNode } from '@binnacle/node-kit/run-node';
import { ProxyModule } from './proxy.module.js';

await runNode({ roles: ['proxy'], modules: [ProxyModule], defaultPort: 7407 });
