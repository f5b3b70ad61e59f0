import { readFileSync } from 'node:fs';
import { stdin, stderr } from 'node:process';

const passwordBytesMax = 4_096;

/**
 * A password that is in no argument: those are seen by everybody on the machine. From a file, else from the environment, else asked on the terminal
 * without showing it. Throws with what to do where there is no terminal.
 */
export async function password(what: string, file: string | undefined, variable: string): Promise<string> {
  if (file !== undefined) return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  const given = process.env[variable];
  if (given !== undefined) return given;
  if (!stdin.isTTY) throw new Error(`there is no terminal to ask for ${what}: set ${variable}, or name a file`);
  return ask(`${what}: `);
}

function ask(question: string): Promise<string> {
  stderr.write(question);
  stdin.setRawMode(true);
  stdin.setEncoding('utf8').resume();
  let text = '';
  return new Promise((resolve, reject) => {
    const end = (work: () => void): void => {
      stdin.setRawMode(false);
      stdin.pause().removeListener('data', take);
      stderr.write('\n');
      work();
    };
    const take = (typed: string): void => {
      for (const key of typed) {
        if (key === '\r' || key === '\n') return end(() => resolve(text));
        if (key === '\x03' || key === '\x04') return end(() => reject(new Error('no password was given')));
        if (key === '\x7f' || key === '\b') text = [...text].slice(0, -1).join('');
        else if (text.length < passwordBytesMax) text += key;
      }
    };
    stdin.on('data', take);
  });
}
