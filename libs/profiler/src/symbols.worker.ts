import { parentPort, workerData } from 'node:worker_threads';
import { ProcessSymbols } from './process-symbols.js';
import type { SymbolAnswer, SymbolRequest } from './symbols.js';

const symbols = new ProcessSymbols((workerData as { perfMapPath: string | undefined }).perfMapPath);

parentPort?.on('message', ({ id, addresses }: SymbolRequest) => {
  let answer: SymbolAnswer;
  try {
    answer = { id, names: symbols.resolve(addresses) };
  } catch (error) {
    answer = { id, failure: String(error) };
  }
  parentPort?.postMessage(answer);
});
