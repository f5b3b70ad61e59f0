import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { systemClock } from '@binnacle/cluster-state/clock';
import { loadConfig } from '@binnacle/node-kit/load-config';
import { peerAddress } from '@binnacle/node-kit/value-forms';
import { replayWish, thresholdFields } from '@binnacle/proxy/traffic/jobs/replay-form';
import { ReplayProcess } from '@binnacle/proxy/traffic/jobs/replay-process';
import { TrafficForm } from '@binnacle/proxy/traffic/jobs/traffic-form';
import { placeText, storeSettings } from '@binnacle/proxy/traffic/jobs/traffic-place';
import { htmlReport } from '@binnacle/proxy/traffic/report/html-report';
import { readReport } from '@binnacle/proxy/traffic/report/report-file';
import { textReport } from '@binnacle/proxy/traffic/report/text-report';
import type { Thresholds, TrafficReport } from '@binnacle/proxy/traffic/report/traffic-report';
import { defaultThresholds, judge, verdictLine } from '@binnacle/proxy/traffic/report/verdict';
import { type Command, Option } from 'commander';
import { password } from './secrets-of-commands.js';
import { type ShownJob, TrafficClient } from './traffic-client.js';
import { captureLine, replayLine, TrafficProgress } from './traffic-progress.js';

/** For scripts: 0 PASS, 1 FAIL, 2 it could not be done. */
const [passed, differed, couldNotRun] = [0, 1, 2];

interface ApiOptions {
  readonly url: string;
  readonly apiKey: string;
}

type Texts = Readonly<Record<string, string | undefined>>;

/** `binnacle traffic capture`, `replay`, `report`, `show`, `cancel`. */
export function addTrafficCommands(program: Command): void {
  const traffic = program.command('traffic').description('capture the SQL of all proxies, replay it elsewhere, and compare');
  // A wrong option must not look like a FAIL.
  traffic.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? passed : couldNotRun));
  addCapture(traffic);
  addReplay(traffic);
  addReport(traffic);
  withApi(traffic.command('show').description('the last captures and replays')).action((options: ApiOptions) =>
    orFail(async () => {
      console.log(JSON.stringify(await clientOf(options).jobs(), undefined, 2));
      return passed;
    }),
  );
  withApi(traffic.command('cancel').description('end the capture or replay that runs; what was captured stays'))
    .addOption(new Option('--type <type>', 'only one of this type').choices(['capture', 'replay']))
    .action((options: ApiOptions & { type?: ShownJob['type'] }) =>
      orFail(async () => {
        console.log(await clientOf(options).cancel(options.type));
        return passed;
      }),
    );
}

function withApi(command: Command): Command {
  return command
    .option('--url <url>', 'gateway, or its port of the tiproxy dialect', 'http://127.0.0.1:8080')
    .addOption(new Option('--api-key <key>', 'its API key; rather in the environment, where nobody else sees it').env('BINNACLE_GATEWAY_API_KEY').default('', 'none'));
}

function withExplain(command: Command): Command {
  return command
    .option('--explain-username <user>', 'account that EXPLAINs each kind of query, so that plans are compared')
    .option('--explain-password-file <file>', 'its password; or in TRAFFIC_EXPLAIN_PASSWORD, else asked for');
}

function withThresholds(command: Command): Command {
  const about: Readonly<Record<keyof Thresholds, string>> = {
    differentMax: 'share of results that may differ, 0 to 1',
    newErrorMax: 'share of commands that may fail now, or with another error',
    errorGoneMax: 'share of commands that may have failed in the capture alone',
    otherOrderMax: 'share of results that may have their rows in another order under an ORDER BY',
    p95FactorMax: 'how many times slower the p95 of a digest may be; 0: not looked at',
    planChangesMax: 'plans that may have changed, a number',
    notComparedMax: 'share of commands that may have nothing to compare',
    incompletePartsMax: 'parts of the capture that may be missing or cut off, a number',
  };
  for (const [field, name] of thresholdFields) command.option(`--${field} <number>`, `${about[name]} (default: ${defaultThresholds[name]})`);
  return command;
}

function addCapture(traffic: Command): void {
  const command = traffic
    .command('capture')
    .description('write the traffic of all proxies to files, and wait for the end; Ctrl-C ends it early and keeps what there is')
    .requiredOption('--output <place>', 'folder on the proxy nodes, or s3://BUCKET/PREFIX, under one of proxy.traffic-roots')
    .requiredOption('--duration <duration>', 'such as 90m or 1h30m')
    .option('--encryption-method <method>', 'aes256-ctr; the key is in security.encryption-key-path of the nodes')
    .option('--encrypt-layers <order>', 'compress-first, or encrypt-first for files that TiProxy is to read')
    .option('--compress <boolean>', 'whether files are compressed', 'true')
    .option('--detach', 'do not wait for the end');
  withApi(withExplain(command)).action((options: ApiOptions & Texts & { detach?: true }) =>
    orFail(async () => {
      const fields = {
        ...given({ output: options['output'], duration: options['duration'], 'encrypt-method': options['encryptionMethod'], 'encrypt-layers': options['encryptLayers'], compress: options['compress'] }),
        ...(await explainFields(options)),
      };
      const job = await followed(clientOf(options), 'capture', fields, options.detach);
      if (job.state === 'running') return passed;
      console.log(`${job.id} ${job.state}${job.error === undefined ? '' : `: ${job.error}`}`);
      console.log(captureLine(job));
      for (const [part, place] of Object.entries(job.parts ?? {})) console.log(`  ${part}: ${place}`);
      for (const [why, count] of Object.entries(job.leftOut ?? {})) console.log(`  left out (${why}): ${count}`);
      for (const [why, count] of Object.entries(job.incomplete ?? {})) console.log(`  sessions that lack something (${why}): ${count}`);
      for (const note of job.notes ?? []) console.log(`  ${note}`);
      return job.state === 'failed' ? couldNotRun : passed;
    }),
  );
}

function addReplay(traffic: Command): void {
  const command = traffic
    .command('replay')
    .description('send captured traffic again and compare what comes back; exit code 0: PASS, 1: FAIL, 2: could not run')
    .requiredOption('--input <place>', 'folder or s3://BUCKET/PREFIX of a capture: on the proxy node, or here with --target')
    .requiredOption('--username <user>', 'account of all sessions')
    .option('--password-file <file>', 'its password; or in TRAFFIC_PASSWORD, else asked for')
    .option('--speed <number>', '0.1 to 10')
    .option('--read-only', 'only statements that surely change nothing')
    .option('--ignore-errs', 'skip damaged places of files')
    .option('--users <list>', 'only sessions of these users')
    .option('--commands <list>', 'only these commands: Query, StmtExecute, ...')
    .option('--digests <list>', 'only statements with these digests')
    .option('--command-start-time <time>', 'skip commands up to this time of the capture')
    .option('--command-end-time <time>', 'skip commands after this time of the capture')
    .option('--target <host:port>', 'replay from here to this server, without a proxy')
    .option('--tls', 'with --target: speak TLS, and take any certificate')
    .option('--encryption-key <file>', 'with --target: key of encrypted files; else security.encryption-key-path')
    .option('--report <file>', 'write the report there as JSON')
    .option('--detach', 'do not wait for the end');
  withApi(withThresholds(withExplain(command))).action((options: ApiOptions & Texts & { detach?: true; tls?: true; readOnly?: true; ignoreErrs?: true }) =>
    orFail(async () => {
      // Not after hours of replaying.
      if (options['report'] !== undefined) closeSync(openSync(options['report'], 'a'));
      const fields = await replayFields(options);
      const report = options['target'] === undefined ? await replayByProxy(options, fields) : await replayHere(options, options['target'], fields);
      if (report === undefined) return passed;
      process.stdout.write(textReport(report));
      if (options['report'] !== undefined) writeFileSync(options['report'], `${JSON.stringify(report, undefined, 2)}\n`);
      return codeOf(report);
    }),
  );
}

function addReport(traffic: Command): void {
  const command = traffic
    .command('report')
    .description('what a replay found; exit code 0: PASS, 1: FAIL. With thresholds it is judged anew')
    .argument('[job]', 'id of the replay, or a report that was written as JSON; absent: the last replay')
    .addOption(new Option('--format <format>', 'what to write').choices(['text', 'json', 'html']).default('text'))
    .option('-o, --output <file>', 'where to; absent: standard output');
  withApi(withThresholds(command)).action((job: string | undefined, options: ApiOptions & Texts) =>
    orFail(async () => {
      const isFile = job !== undefined && (job.includes('/') || job.endsWith('.json'));
      const read = readReport(isFile ? readFileSync(job, 'utf8') : await clientOf(options).report(job));
      const report = judge(read, { ...read.thresholds, ...thresholdsOf(options) });
      const text = options['format'] === 'json' ? `${JSON.stringify(report, undefined, 2)}\n` : options['format'] === 'html' ? htmlReport(report) : textReport(report);
      if (options['output'] === undefined) process.stdout.write(text);
      else {
        writeFileSync(options['output'], text);
        console.log(verdictLine(report));
      }
      return codeOf(report);
    }),
  );
}

/** Undefined: it goes on without us. */
async function replayByProxy(options: ApiOptions & { detach?: true }, fields: Readonly<Record<string, string>>): Promise<TrafficReport | undefined> {
  const client = clientOf(options);
  const job = await followed(client, 'replay', fields, options.detach);
  if (job.state === 'running') return undefined;
  for (const note of job.notes ?? []) console.error(`warning: ${note}`);
  if (job.verdict === undefined) throw new Error(`${job.id} ${job.state}: ${job.error ?? 'there is no report of it'}`);
  return readReport(await client.report(job.id));
}

async function replayHere(options: Texts & { tls?: true }, target: string, fields: Readonly<Record<string, string>>): Promise<TrafficReport> {
  const address = peerAddress(target);
  if (address === undefined) throw new Error(`--target is host:port, not ${target}`);
  const { username, password: secret, speed, readOnly, ignoreErrors, filters, explain, after, before, thresholds, input } = replayWish(new TrafficForm(Object.entries(fields)), Date.now());
  // What the nodes of this machine have says where buckets are and which key files have.
  const config = loadConfig({ argv: [], env: process.env });
  const progress = new TrafficProgress();
  const replay = new ReplayProcess(
    {
      input: placeText('input', input),
      store: storeSettings(config.remote),
      keyFile: options['encryptionKey'] ?? config.security.encryptionKeyPath,
      target: { ...address, tls: options.tls ?? false },
      username,
      password: secret,
      speed,
      readOnly,
      ignoreErrors,
      filters,
      ...(explain !== undefined && { explain }),
      ...(after !== undefined && { after }),
      ...(before !== undefined && { before }),
    },
    systemClock,
    { progress: (now) => progress.show(replayLine(`${Math.floor(now.share * 100)}%`, now)), warning: (text) => progress.say(`warning: ${text}`) },
  );
  const facts = await interruptible(progress, () => replay.cancel('manually stopped'), replay.facts);
  progress.end();
  return judge(facts, { ...defaultThresholds, ...thresholds });
}

async function replayFields(options: Texts & { readOnly?: true; ignoreErrs?: true }): Promise<Record<string, string>> {
  const secret = await password(`password of ${options['username'] ?? ''}`, options['passwordFile'], 'TRAFFIC_PASSWORD');
  return {
    ...given({
      input: options['input'],
      username: options['username'],
      speed: options['speed'],
      users: options['users'],
      commands: options['commands'],
      digests: options['digests'],
      cmdstarttime: options['commandStartTime'],
      cmdendtime: options['commandEndTime'],
    }),
    password: secret,
    ...(options.readOnly && { readonly: 'true' }),
    ...(options.ignoreErrs && { 'ignore-errs': 'true' }),
    ...Object.fromEntries(thresholdFields.flatMap(([field]) => (options[camelCase(field)] === undefined ? [] : [[field, options[camelCase(field)] as string]]))),
    ...(await explainFields(options)),
  };
}

async function explainFields({ explainUsername: username, explainPasswordFile }: Texts): Promise<Record<string, string>> {
  if (username === undefined) return {};
  return { 'explain-username': username, 'explain-password': await password(`password of ${username}`, explainPasswordFile, 'TRAFFIC_EXPLAIN_PASSWORD') };
}

function thresholdsOf(options: Texts): Partial<Thresholds> {
  const fields = thresholdFields.flatMap(([field]) => (options[camelCase(field)] === undefined ? [] : [[field, options[camelCase(field)] as string] as const]));
  return replayWish(new TrafficForm([['input', '/'], ['username', '-'], ...fields]), Date.now()).thresholds;
}

/** Starts a job and, unless it is to be left alone, waits for its end. The first Ctrl-C cancels it and goes on waiting, the second leaves. */
async function followed(client: TrafficClient, type: ShownJob['type'], fields: Readonly<Record<string, string>>, detach: true | undefined): Promise<ShownJob> {
  const started = await client.start(type, fields);
  if (detach) {
    console.log(`${started.id} runs`);
    return started;
  }
  const progress = new TrafficProgress();
  const show = (job: ShownJob): void => progress.show(type === 'capture' ? captureLine(job) : replayLine(job.progress, job));
  const cancel = (): void => void client.cancel(type).catch((error: unknown) => progress.say(`binnacle: ${(error as Error).message}`));
  const ended = await interruptible(progress, cancel, client.follow(started.id, show));
  progress.end();
  return ended;
}

async function interruptible<Result>(progress: TrafficProgress, cancel: () => void, work: Promise<Result>): Promise<Result> {
  let isCanceled = false;
  const interrupt = (): void => {
    if (isCanceled) process.exit(couldNotRun);
    isCanceled = true;
    progress.say('ends early, and keeps what there is; once more to leave at once');
    cancel();
  };
  process.on('SIGINT', interrupt);
  try {
    return await work;
  } finally {
    process.off('SIGINT', interrupt);
  }
}

function clientOf({ url, apiKey }: ApiOptions): TrafficClient {
  return new TrafficClient(url, apiKey);
}

function given(fields: Texts): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

function camelCase(field: string): string {
  return field.replace(/-([a-z0-9])/g, (_dash, letter: string) => letter.toUpperCase());
}

function codeOf({ verdict }: TrafficReport): number {
  return verdict === 'PASS' ? passed : differed;
}

async function orFail(work: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await work();
  } catch (error) {
    console.error(`binnacle: ${(error as Error).message}`);
    process.exitCode = couldNotRun;
  }
}
