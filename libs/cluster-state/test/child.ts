import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const hook = new URL('./typescript-hook.mjs', import.meta.url).href;

/** Starts a script of this folder as a process of its own; it ends with this one, because its channel does. */
export function startChild(script: string, args: readonly string[]): ChildProcess {
  return fork(fileURLToPath(new URL(script, import.meta.url)), [...args], { execArgv: ['--import', hook], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
}

/** The next message that passes; rejects when the process ends before. */
export function nextMessage<T>(child: ChildProcess, passes: (message: T) => boolean = () => true): Promise<T> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: T): void => {
      if (!passes(message)) return;
      child.off('message', onMessage);
      child.off('exit', onExit);
      resolve(message);
    };
    const onExit = (code: number | null, signal: string | null): void => reject(new Error(`the child process ended (${code ?? signal})`));
    child.on('message', onMessage);
    child.once('exit', onExit);
  });
}
