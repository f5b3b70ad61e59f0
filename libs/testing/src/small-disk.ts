import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';

/** Only root may mount: `(canMount ? test : test.skip)(...)`, so that a run without it says what it left out. */
export const canMount = process.getuid?.() === 0;

/** A file system in memory that is soon full, mounted over a folder, which is made if need be. */
export class SmallDisk {
  constructor(
    readonly folder: string,
    kibibytes: number,
  ) {
    mkdirSync(folder, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kibibytes}k`, 'tmpfs', folder]);
  }

  enlarge(kibibytes: number): void {
    execFileSync('mount', ['-o', `remount,size=${kibibytes}k`, this.folder]);
  }

  unmount(): void {
    execFileSync('umount', [this.folder]);
  }
}
