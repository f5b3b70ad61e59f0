import { open } from 'node:fs/promises';

/** What was made, renamed or removed in the folder stays so when the power fails. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
