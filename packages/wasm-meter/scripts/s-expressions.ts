/** A node of WebAssembly's text format: an atom or a string as written, or a list with its own source. */
export type Node = string | ListNode;

export interface ListNode {
  readonly items: readonly Node[];
  readonly source: string;
}

const tokens = /\(;|;\)|;;[^\n]*|[()]|"(?:[^"\\]|\\[\s\S])*"|[^\s()";]+/g;

/** Reads a script of WebAssembly's tests into its commands. */
export function parseScript(text: string): Node[] {
  const top: Node[] = [];
  const open: { readonly items: Node[]; readonly start: number }[] = [];
  let comments = 0;
  for (const { 0: token, index } of text.matchAll(tokens)) {
    if (token === "(;") comments++;
    else if (token === ";)") comments--;
    else if (comments > 0 || token.startsWith(";;")) continue;
    else if (token === "(") open.push({ items: [], start: index });
    else if (token === ")") {
      const list = open.pop();
      if (!list) throw new Error(`unbalanced at ${index}`);
      (open.at(-1)?.items ?? top).push({ items: list.items, source: text.slice(list.start, index + 1) });
    } else (open.at(-1)?.items ?? top).push(token);
  }
  return top;
}

/** The first atom of a list: what it is. */
export function headOf(node: Node): string {
  const first = typeof node === "string" ? node : node.items[0];
  return typeof first === "string" ? first : "";
}
