// Captures to the folder given until it is killed; says after each chunk that the file has it how many records there are.
import { RecordEncoder } from '../dist/traffic/files/record-encoder.js';
import { TrafficWriter } from '../dist/traffic/files/traffic-writer.js';
import { readdirSync, statSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';

const [output, key] = process.argv.slice(2);
const writer = await TrafficWriter.open({
  output, store: {}, temporaryFolder: '', layers: { isCompressed: true, order: 'compress-first', key: Buffer.from(key, 'hex') }, version: '1', fileBytesMax: 4_000,
  nowMs: () => Date.now(), onFailure: (error) => { throw error; }, onWarning: () => {},
});
const encoder = new RecordEncoder();
const sizeOfAll = () => readdirSync(output).filter((name) => /^traffic-\d{4}-/.test(name)).reduce((sum, name) => sum + statSync(`${output}/${name}`).size, 0);
for (let index = 0; ; index++) {
  const target = Buffer.alloc(1_000);
  const before = sizeOfAll();
  writer.writeRecords(target.subarray(0, encoder.record(target, 0, { timeUs: Date.now() * 1_000, connectionId: 1, command: 3, payload: Buffer.from(`select ${index}`) })), 1);
  while (sizeOfAll() <= before) await setTimeout(1);
  process.stdout.write(`${index + 1}\n`);
}
