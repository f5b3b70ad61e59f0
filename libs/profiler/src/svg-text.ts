/** Longer names are cut: template-heavy C++ has some of 10,000 characters. */
const charactersMax = 240;

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/**
 * Any text as characters of an XML document: no markup comes out of it, nothing that XML 1.0 forbids (most control characters, U+FFFE,
 * U+FFFF, lone surrogates) and nothing that turns the direction of what follows; U+FFFD stands in for those. Cut after `max` characters.
 */
export function svgText(text: string, max = charactersMax): string {
  const cut = text.length > max ? `${text.slice(0, max - 1)}…` : text;
  // A cut can leave half of a surrogate pair, which \p{Cs} finds: only lone ones match it.
  return cut
    .replace(/[\t\n\r]/g, ' ')
    .replace(/[\p{Cc}\p{Cs}\u202a-\u202e\u2066-\u2069\ufffe\uffff]/gu, '\ufffd')
    .replace(/[&<>"']/g, (character) => entities[character]!);
}
