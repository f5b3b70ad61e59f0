import { Command, commandName } from '@binnacle/mysql-wire/command';

/** Label `cmd_type` as TiProxy writes it: `Query`, `StmtExecute`; the words of Go's MySQL code, quirks included. */
const odd: Readonly<Record<number, string>> = {
  [Command.initDb]: 'InitDB',
  [Command.createDb]: 'CreateDB',
  [Command.dropDb]: 'DropDB',
  [Command.shutdown]: '(DEPRECATED)Shutdown',
  [Command.resetConnection]: 'ResetConnect',
};

function label(command: number): string {
  const words = commandName(command).slice('COM_'.length).toLowerCase().split('_');
  return odd[command] ?? words.map((word) => word.slice(0, 1).toUpperCase() + word.slice(1)).join('');
}

/** By the command's byte; what is no command is `Unknown`. */
export const commandLabels: readonly string[] = Array.from({ length: 256 }, (_, command) => label(command));
