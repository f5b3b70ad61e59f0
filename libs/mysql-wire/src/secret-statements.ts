import { Token, type LexerMode } from './lexer.js';
import { hasQuotesInHint, literalText, possibleWords, statementLexemes, withoutVersionComments, type Lexeme } from './statement-lexemes.js';

/** Every statement that is looked at closely has one of these; most statements have none. In bytes as they come: no letter of them can be written otherwise. */
const suspicious =
  /identified|passw|passphrase|pwd|token|\b(?:user|servers?|grant|master|replication|connection|import|backup|restore|load)\b|secret|credential|access.?key|auth|external|aes_|des_|encode|decode|encrypt|\bmysql\b|global_priv|slave_master_info|spider_|:\/\//i;
/** In a text whose quotes cannot be told: what alone is enough. */
const prepares = /\b(?:prepare|execute)\b/i;

/** The schema that holds the accounts. */
export const accountSchema = 'mysql';
const accountSchemaWord = /\bmysql\b/i;
const use = /\buse\b/i;
const accountWrite = /\b(?:insert|replace|update)\b/i;
const accountNames = /\b(?:user|servers|global_priv|slave_master_info|proxies_priv)\b/i;

/** A prepared text may prepare no further one; whoever tries is not understood. */
const depthMax = 3;

/**
 * Whether a statement may hold a password, a key or what else must not be written down. In doubt it may: in comments that only some servers read, in any of several
 * statements, in texts that are prepared, and where `mode` is undefined because nobody knows how its quotes are to be read.
 *
 * @param database the session's own, in which names of tables without a schema are
 */
export function mayHoldSecret(text: string, mode: LexerMode | undefined, database: string): boolean {
  if (!suspicious.test(text)) return prepares.test(text) && preparesHidden(text, mode);
  if (mode === undefined) return true;
  return holdsSecret(text, mode, 0) || follows(text, ...(isAccountSchema(database) ? [] : [use, accountSchemaWord]), accountWrite, accountNames);
}

export function isAccountSchema(database: string): boolean {
  return database.toLowerCase() === accountSchema;
}

/** Whether the schema of the accounts may be the session's database from this statement on. */
export function mayUseAccountSchema(text: string): boolean {
  return follows(text, use, accountSchemaWord);
}

/** `PREPARE s FROM x'4352...'`: nobody here reads that. */
function preparesHidden(text: string, mode: LexerMode | undefined): boolean {
  if (mode === undefined) return true;
  const lexed = statementLexemes(text, mode);
  if (lexed === undefined) return true;
  const words = lexed.statements.flatMap((lexemes) => lexemes.flatMap(wordsOf));
  return words.some((word, index) => preparesText(words, index) && word !== undefined) && lexed.statements.some((lexemes) => lexemes.some(isHidden));
}

function isHidden({ token, text }: Lexeme): boolean {
  if (token === Token.number) return /^0[xX]/.test(text);
  return (token === Token.string && !/^['"]/.test(text)) || (token === Token.word && /^(?:unhex|from_base64|char|concat|reverse|uncompress|replace|aes_decrypt)$/.test(text));
}

function preparesText(words: readonly string[], index: number): boolean {
  const word = words[index];
  return word === 'prepare' || (word === 'execute' && words[index + 1] === 'immediate');
}

function holdsSecret(text: string, mode: LexerMode, depth: number): boolean {
  const lexed = statementLexemes(text, mode);
  if (lexed === undefined || depth > depthMax) return true;
  // A quoted name within a hint may hold what looks like the comment's end: what follows may be read in another way.
  if (hasQuotesInHint(text)) return true;
  return lexed.statements.some((lexemes) => statementHoldsSecret(lexemes, mode, depth)) || (lexed.versionComment && holdsWithoutComments(text, mode, depth));
}

/** As a server reads it that passes the version comments. */
function holdsWithoutComments(text: string, mode: LexerMode, depth: number): boolean {
  const without = withoutVersionComments(text);
  return without !== text && holdsSecret(without, mode, depth + 1);
}

const wordsOf = ({ token, text }: Lexeme): readonly string[] => (token === Token.word ? possibleWords(text) : [text]);

const wordSet = (words: string): ReadonlySet<string> => new Set(words.trim().split(/\s+/));
/** What applications do with their own data, whatever its columns are called. */
const dataWords = wordSet('select insert update delete replace with values table explain describe desc show analyze use');
/** The original leaves them out whole; so are those of servers that it does not know. */
const firstWords = wordSet('grant backup restore import load');
const betweenCreateAndUser = wordSet('or replace if not exists');
const secretFunctions = wordSet('password old_password encrypt');
const keyFunctions = wordSet('aes_encrypt aes_decrypt des_encrypt des_decrypt encode decode');
const secretColumns = wordSet('authentication_string auth_string global_priv');
const accountTables = wordSet('user global_priv servers slave_master_info db proxies_priv');

function statementHoldsSecret(lexemes: readonly Lexeme[], mode: LexerMode, depth: number): boolean {
  const words: string[] = [];
  const tokens: Token[] = [];
  for (const lexeme of lexemes) {
    for (const word of wordsOf(lexeme)) {
      words.push(word);
      tokens.push(lexeme.token);
    }
  }
  let opening = 0;
  while (words[opening] === '(') opening++;
  const first = words[opening] ?? '';
  if (firstWords.has(first)) return true;
  const statement: Statement = { words, tokens, ofData: dataWords.has(first), writes: /^(?:insert|update|replace|with|delete|explain)$/.test(first) };
  for (let index = 0; index < words.length; index++) {
    if (tokens[index] === Token.word && wordTells(statement, index)) return true;
    if (tokens[index] === Token.systemVariable && !statement.ofData && (secretNames.test(words[index]!) || words[index]!.includes('_key'))) return true;
    if (tokens[index] === Token.quotedName && statement.writes && secretColumns.has(words[index]!)) return true;
    if (tokens[index] !== Token.operator && statement.writes && accountTables.has(words[index]!) && words[index - 1] === '.' && words[index - 2] === 'mysql') return true;
    if (tokens[index] === Token.quotedName && words[index + 1] === '(' && secretFunctions.has(words[index]!)) return true;
  }
  return stringsTell(statement, first, mode, depth);
}

const secretNames = /passw|pwd|secret|passphrase|credential|token|auth$|auth_/;
/** Of hosted servers, which set up replication and accounts by procedures. */
const tellingProcedure = /^mysql\.|external|replication|master|source/;

interface Statement {
  readonly words: readonly string[];
  readonly tokens: readonly Token[];
  readonly ofData: boolean;
  readonly writes: boolean;
}

/** Wherever it stands: in the body of a procedure, behind EXPLAIN or SET STATEMENT, in one of several statements. */
function wordTells({ words, tokens, ofData, writes }: Statement, index: number): boolean {
  const word = words[index]!;
  const next = words[index + 1];
  if (word === 'identified') return true;
  if (word === 'create' || word === 'alter') {
    let at = index + 1;
    while (betweenCreateAndUser.has(words[at] ?? '')) at++;
    return words[at] === 'user' || words[at] === 'server';
  }
  if (word === 'set' && next === 'password' && !ofData) return true;
  if (word === 'change' && (next === 'master' || next === 'replication')) return true;
  if (word === 'grant' && !ofData) return true;
  if (next === '(' && (secretFunctions.has(word) || word.startsWith('spider_'))) return true;
  if (next === '(' && keyFunctions.has(word)) return tokens.includes(Token.string);
  if (writes && secretColumns.has(word)) return true;
  if (ofData) return false;
  if (secretNames.test(word)) return next === '=' || next === ':=' || tokens[index + 1] === Token.string;
  if (word === 'call') return tellingProcedure.test(words.slice(index + 1, index + 4).join(''));
  return word === 'connection' && (next === '=' || tokens[index + 1] === Token.string);
}

/** Words that tell in any text. */
const tellingWords = /identified|passw|secret|credential|access.?key/i;
/** `://name:password@` */
const addressWithPassword = /:\/\/[^\s/'"@:]{0,256}:[^\s/'"@]{0,256}@/;
const keyAssigned = /(?:key|secret|token|passw|credential|sig)[^\s'"=]{0,64}=/i;

/** Whether things stand one behind the other, anywhere; every character is read once for each. */
function follows(text: string, ...things: readonly RegExp[]): boolean {
  let from = 0;
  return things.every((thing) => {
    const at = text.slice(from).search(thing);
    from += at;
    return at !== -1;
  });
}

/** An address with a name and a password, or with keys behind it. */
function tellsAddress(text: string): boolean {
  return addressWithPassword.test(text) || follows(text, /:\/\//, keyAssigned);
}

/** As SQL or as an address. */
function tellsText(text: string): boolean {
  if (tellingWords.test(text) || addressWithPassword.test(text)) return true;
  return follows(text, /create|alter/i, /user|server/i) || follows(text, /change/i, /master|replication/i);
}

/** Options of engines and connections, in the strings of definitions. */
const tellingOption = /passw|pwd|secret|credential|access.?key|token/i;

function stringsTell({ words, tokens, ofData }: Statement, first: string, mode: LexerMode, depth: number): boolean {
  const ofFile = words.includes('outfile') || words.includes('dumpfile');
  const assigns = first === 'set' || first === 'call' || (words.includes('into') && tokens.includes(Token.userVariable)) || words.includes(':=');
  const prepared = words.some((_, index) => preparesText(words, index));
  return words.some((raw, index) => {
    if (tokens[index] === Token.number) return prepared && /^0x/i.test(raw);
    if (tokens[index] !== Token.string) return false;
    const text = literalText(raw, mode);
    if (prepared) return text === undefined || holdsSecret(text, mode, depth + 1) || tellsText(text);
    if (assigns && tellsText(raw)) return true;
    if (ofFile) return tellsAddress(raw);
    return !ofData && (tellsAddress(raw) || tellingOption.test(raw));
  });
}
