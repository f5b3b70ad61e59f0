import { Token } from './lexer.js';
import type { Lexeme } from './statement-lexemes.js';

/** Whether the rows of a statement come in an order that it asks for. */
export function hasTopLevelOrder(lexemes: readonly Lexeme[]): boolean {
  const depth = outerPairs(lexemes);
  return lexemes.some((lexeme, index) => {
    if (lexeme.depth !== depth || !isWord(lexeme, 'order') || !isWord(lexemes[index + 1], 'by')) return false;
    return !isWord(lexemes[index + 2], 'null');
  });
}

const isWord = (lexeme: Lexeme | undefined, word: string): boolean => lexeme?.token === Token.word && lexeme.text === word;

/** How many pairs of parentheses hold the whole of it: in `((SELECT 1))` two, in `(SELECT 1) UNION (SELECT 2)` none. */
function outerPairs(lexemes: readonly Lexeme[]): number {
  let opened = 0;
  while (isOperator(lexemes[opened], '(')) opened++;
  if (opened === 0) return 0;
  let closed = 0;
  while (isOperator(lexemes[lexemes.length - 1 - closed], ')')) closed++;
  const inner = lexemes.slice(opened, lexemes.length - closed);
  return inner.reduce((least, { depth }) => Math.min(least, depth), Math.min(opened, closed));
}

const isOperator = (lexeme: Lexeme | undefined, text: string): boolean => lexeme?.token === Token.operator && lexeme.text === text;

const wordSet = (words: string): ReadonlySet<string> => new Set(words.trim().split(/\s+/));

const changingFunctions = wordSet(`
  now sysdate curdate curtime current_date current_time current_timestamp localtime localtimestamp utc_date utc_time utc_timestamp
  rand random_bytes uuid uuid_short uuid_v4 uuid_v7 sys_guid connection_id last_insert_id lastval nextval version user current_user session_user system_user current_role
  is_used_lock is_free_lock benchmark ps_current_thread_id ps_thread_id tidb_version tidb_is_ddl_owner tidb_parse_tso icu_version
  wsrep_last_seen_gtid wsrep_last_written_gtid found_rows row_count encrypt
`);
/** The same without parentheses. */
const changingWords = wordSet('current_date current_time current_timestamp localtime localtimestamp utc_date utc_time utc_timestamp current_user current_role');
const changingVariables = /server|host|timestamp|version|gtid|port$|socket|dir$|thread|insert_id|identity|wsrep|log_|_log|error_count|warning_count|pid|rand_seed|_ts$|read_only|uuid|license/;
const serverSchemas = wordSet('information_schema performance_schema mysql sys metrics_schema');
/** What these SHOW is the data's; everything else is the server's own. */
const steadyShows = wordSet('databases schemas tables columns fields create grants full collation character triggers warnings errors');

/** Whether its results differ between two runs on equal data: by clock, chance, connection or server. */
export function changesByNature(lexemes: readonly Lexeme[]): boolean {
  const first = lexemes[0]?.token === Token.word ? lexemes[0].text : '';
  if (first === 'explain' || first === 'analyze') return true;
  if (first === 'show') return !steadyShows.has(lexemes[1]?.text ?? '') || lexemes.some((lexeme) => isWord(lexeme, 'processlist'));
  return lexemes.some((lexeme, index) => changes(lexeme, lexemes[index - 1], lexemes[index + 1], lexemes[index + 2]));
}

function changes({ token, text }: Lexeme, before: Lexeme | undefined, next: Lexeme | undefined, afterNext: Lexeme | undefined): boolean {
  if (token === Token.systemVariable) return changingVariables.test(text);
  if (token !== Token.word && token !== Token.quotedName) return false;
  if (isOperator(before, '.')) return false;
  if (isOperator(next, '.')) return serverSchemas.has(text);
  if (isOperator(next, '(')) return changingFunctions.has(text) || (text === 'unix_timestamp' && isOperator(afterNext, ')'));
  return token === Token.word && changingWords.has(text);
}
