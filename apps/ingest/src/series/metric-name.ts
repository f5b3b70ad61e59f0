const unusual = /[^A-Za-z0-9._-]/;

/** A name as gostatsd keeps it: slashes become hyphens, blanks underscores, and what else is no letter, digit, dot, hyphen or underscore goes. May be empty. */
export function normalName(name: string): string {
  if (!unusual.test(name)) return name;
  return name.replaceAll('/', '-').replace(/[ \t]/g, '_').replace(/[^A-Za-z0-9._-]/g, '');
}
