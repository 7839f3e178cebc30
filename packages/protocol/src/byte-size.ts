const units: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** What a size may look like, for messages. */
export const byteSizeForms = "a number of bytes, or a size such as 500MB, 64MiB or 2GiB";

/**
 * A size that a person writes, in bytes: `67108864`, `64MiB`, `1.5 GiB`, `500MB` (millions). Upper and lower case are the same; a bare
 * `64M` is refused, as people mean both by it.
 * @returns undefined when the text is no size, or more than a number holds exactly
 */
export function parseByteSize(text: string): number | undefined {
  const [, figure, unit = ""] = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]i?b|b)?\s*$/i.exec(text) ?? [];
  const factor = units[unit.toLowerCase()];
  if (figure === undefined || factor === undefined || (factor === 1 && figure.includes("."))) return undefined;
  const bytes = Math.round(Number(figure) * factor);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
