import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readReport } from '../report/report-file.js';
import type { TrafficReport } from '../report/traffic-report.js';

/** As many as jobs are shown. A report has at most some MB, since it lists a bounded number of digests. */
const reportsMax = 10;
const nameForm = /^(replay-[0-9TZ]+-[0-9a-f]{8})\.json$/;

/** The reports of the replays that this node ran, in a folder of its data; the oldest go. */
export class KeptReports {
  constructor(private readonly folder: string) {}

  /** Whole or not at all. */
  async keep(job: string, report: TrafficReport): Promise<void> {
    // Statements without their values still tell what a database holds.
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const path = join(this.folder, `${job}.json`);
    await writeFile(`${path}.new`, JSON.stringify(report), { mode: 0o600 });
    await rename(`${path}.new`, path);
    const names = (await this.#names()).slice(0, -reportsMax);
    for (const name of names) await rm(join(this.folder, `${name}.json`), { force: true });
  }

  /** Undefined: there is none of that job here. */
  async get(job: string): Promise<TrafficReport | undefined> {
    if (!nameForm.test(`${job}.json`)) return undefined;
    try {
      return readReport(await readFile(join(this.folder, `${job}.json`), 'utf8'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Oldest first: names begin with the time. */
  async #names(): Promise<string[]> {
    const names = await readdir(this.folder);
    return names.flatMap((name) => nameForm.exec(name)?.[1] ?? []).sort();
  }
}
