#!/usr/bin/env node
import { Command } from 'commander';
import { addSnapshotCommands } from './snapshot-commands.js';
import { start } from './start.js';
import { addTrafficCommands } from './traffic-commands.js';

const program = new Command('binnacle').description('The operations plane of a data cluster.');

program
  .command('start')
  .description('run every role in one process, on embedded state unless redis.url is set; `start --help` lists the configuration')
  // Everything after `start` is configuration, which the node kit reads and checks.
  .helpOption(false)
  .allowUnknownOption()
  .allowExcessArguments()
  .action((_options: unknown, command: Command) => start(command.args));

addSnapshotCommands(program);
addTrafficCommands(program);

await program.parseAsync();
