import { parentPort, workerData } from 'node:worker_threads';
import { Indexer } from './indexer.js';
import type { IndexThreadOptions, ToIndexThread } from './index-messages.js';

const port = parentPort;
if (port === null) throw new Error('this is the thread of the search index, not a program');

const indexer = new Indexer(workerData as IndexThreadOptions, (message) => port.postMessage(message));
port.on('message', (message: ToIndexThread) => indexer.receive(message));
await indexer.run();
port.close();
