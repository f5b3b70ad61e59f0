/*
 * A hundred crashes, where the tests have ten:  node --conditions=@binnacle/source apps/storage/test/crash-hundred.mjs [rounds]
 */
import './fixtures/typescript-hooks.mjs';

const { crashRounds } = await import('./crash-rounds.ts');
const rounds = Number(process.argv[2] ?? 100);
let acknowledged = 0;
await crashRounds(rounds, (round) => {
  acknowledged += round.acknowledged;
  console.log(`round ${round.round}: ${round.acknowledged} writes acknowledged, ${round.replayedOperations} replayed, ${round.tornBytes} torn bytes cut off, ${round.rowsChecked} rows as they were written`);
});
console.log(`${rounds} crashes, ${acknowledged} acknowledged writes, none lost, none there in part`);
