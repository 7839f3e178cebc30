/** Changes of a letter, about: more, and it is another word. */
const mostEdits = 3;
const longestName = 64;

/** The name that was probably meant, letters' case aside. @returns undefined when none is near */
export function nearestName(asked: string, names: readonly string[]): string | undefined {
  if (asked.length > longestName) return undefined;
  const most = Math.min(mostEdits, Math.floor(asked.length / 2));
  let best: { readonly name: string; readonly edits: number } | undefined;
  for (const name of names) {
    const edits = editDistance(asked.toLowerCase(), name.toLowerCase());
    if (edits <= most && (best === undefined || edits < best.edits)) best = { name, edits };
  }
  return best?.name;
}

/** Letters to insert, remove or replace (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (const [index, letter] of [...a].entries()) {
    let left = index + 1;
    const next = [left];
    for (let column = 1; column <= b.length; column++) {
      const replaced = (row[column - 1] ?? 0) + (b[column - 1] === letter ? 0 : 1);
      left = Math.min(replaced, left + 1, (row[column] ?? 0) + 1);
      next.push(left);
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
