/**
 * Whether the scopes of an API key allow an action. An action is `resource:verb` (`operations/snapshot:create`); in a scope `*` stands for
 * any run of characters within the resource or within the verb, and a scope of `*` alone allows everything.
 * Scopes come from clients, so they are matched piece by piece, not as regular expressions: the time stays linear in their length.
 */
export function scopeAllows(granted: readonly string[], action: string): boolean {
  const [resource, verb] = halves(action);
  if (resource === '' || verb === '') return false;
  return granted.some((scope) => {
    if (scope === '*') return true;
    const [resourcePattern, verbPattern] = halves(scope);
    return matches(resourcePattern, resource) && matches(verbPattern, verb);
  });
}

/** Split at the last colon; without one there is no verb, and nothing matches. */
function halves(text: string): [string, string] {
  const colon = text.lastIndexOf(':');
  return colon < 0 ? ['', ''] : [text.slice(0, colon), text.slice(colon + 1)];
}

function matches(pattern: string, text: string): boolean {
  const [head = '', ...rest] = pattern.split('*');
  const tail = rest.pop();
  if (tail === undefined) return pattern === text;
  if (text.length < head.length + tail.length || !text.startsWith(head) || !text.endsWith(tail)) return false;
  let from = head.length;
  const end = text.length - tail.length;
  for (const piece of rest) {
    const at = text.indexOf(piece, from);
    if (at < 0 || at + piece.length > end) return false;
    from = at + piece.length;
  }
  return true;
}
