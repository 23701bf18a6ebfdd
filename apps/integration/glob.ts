/**
 * True if a path matches one of the patterns: `*` and `?` stand for anything inside a folder (a
 * leading dot too), `**` for any number of folders, and at the end for everything below.
 */
export function matchesAny(path: string, patterns: readonly string[]): boolean {
  const parts = path.split('/');
  return patterns.some((pattern) => matches(pattern.split('/'), parts));
}

/**
 * Parts of a pattern against parts of a path, a row for each part of the pattern: `open[i]` says
 * that the pattern so far matches the first `i` parts. No pattern takes more than its length times
 * the path's.
 */
function matches(pattern: readonly string[], parts: readonly string[]): boolean {
  let open = parts.map((_part, i) => i === 0);
  open.push(parts.length === 0);
  for (const [at, one] of pattern.entries()) {
    const isLast = at === pattern.length - 1;
    const next: boolean[] = [];
    for (let i = 0; i <= parts.length; i += 1) {
      if (one === '**') {
        // At the end there must be something below: `a/**` is not `a` itself.
        const here = open[i] === true && !(isLast && i === parts.length);
        next.push(here || (i > 0 && (next[i - 1] === true || (isLast && open[i - 1] === true))));
      } else {
        next.push(i > 0 && open[i - 1] === true && matchesPart(one, parts[i - 1] ?? ''));
      }
    }
    open = next;
  }
  return open[parts.length] === true;
}

/** `*` and `?` inside one name; greedy, and goes back to the last `*` only. */
function matchesPart(pattern: string, text: string): boolean {
  let [p, t] = [0, 0];
  let [star, mark] = [-1, 0];
  while (t < text.length) {
    if (pattern[p] === '*') {
      star = p;
      mark = t;
      p += 1;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) {
      p += 1;
      t += 1;
    } else if (star >= 0) {
      p = star + 1;
      mark += 1;
      t = mark;
    } else return false;
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}
