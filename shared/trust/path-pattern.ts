/**
 * Whether a target path matches a delegation's PATHPATTERN (TUF 1.0, 4.5): `*` is any run of characters, `?` any one, neither crosses a `/`;
 * everything else, brackets, braces, `!` and a leading dot included, means itself.
 */
export function matchesPattern(path: string, pattern: string): boolean {
  const segments = path.split('/');
  const patterns = pattern.split('/');
  return segments.length === patterns.length && segments.every((segment, at) => matchesSegment([...segment], [...(patterns[at] ?? '')]));
}

/** Linear but for stars: each star is tried from the last one on only, so hostile patterns cost length × length at worst. */
function matchesSegment(text: readonly string[], pattern: readonly string[]): boolean {
  let at = 0;
  let want = 0;
  let star = -1;
  let resume = 0;
  while (at < text.length) {
    if (pattern[want] === '*') {
      star = want++;
      resume = at;
    } else if (want < pattern.length && (pattern[want] === '?' || pattern[want] === text[at])) {
      want++;
      at++;
    } else if (star >= 0) {
      want = star + 1;
      at = ++resume;
    } else return false;
  }
  while (pattern[want] === '*') want++;
  return want === pattern.length;
}
