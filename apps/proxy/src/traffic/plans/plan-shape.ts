/** What makes a plan another one: operators, tables, keys. Costs, estimates of rows and lengths of keys change with the data. */
const shaping = ['id', 'select_type', 'table', 'partitions', 'type', 'key', 'extra', 'task', 'access object', 'operator info'];
/** TiDB numbers its operators anew in every version. */
const operatorNumber = /_\d+\b/g;
/** What estimates its operator info has. */
const estimates = /,?\s*(?:estRows|count|cost|stats):[^,]*/gi;

/** One line for each row of what EXPLAIN gives, whichever server it is of. */
export function planShape(columns: readonly string[], rows: readonly (readonly (Buffer | null)[])[]): string {
  const names = columns.map((name) => name.toLowerCase());
  return rows.map((row) => lineOf(names, row)).join('\n');
}

function lineOf(names: readonly string[], row: readonly (Buffer | null)[]): string {
  const parts = shaping.flatMap((name) => {
    const value = row[names.indexOf(name)]?.toString() ?? '';
    if (value === '') return [];
    const steady = value.replace(operatorNumber, '').replace(estimates, '');
    return name === 'key' || name === 'partitions' ? [`${name}=${steady}`] : [steady];
  });
  return parts.join(' ');
}
