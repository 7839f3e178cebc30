/**
 * The next version of a plugin in development: `1.2.0` → `1.2.0-dev.1`, `1.2.0-dev.2`, …; `1.2.0-rc.1` → `1.2.0-rc.1.dev.1`.
 * Each is older than the release that it leads to (Semantic Versioning 2.0.0, §11).
 * @param known the versions that were pushed before
 */
export function nextDevVersion(version: string, known: readonly string[]): string {
  const base = version.replace(/\+.*$/, "");
  const prefix = `${base}${base.includes("-") ? "." : "-"}dev.`;
  const numbers = known
    .filter((other) => other.startsWith(prefix))
    .map((other) => Number(other.slice(prefix.length)))
    .filter((number) => Number.isSafeInteger(number));
  return `${prefix}${Math.max(0, ...numbers) + 1}`;
}
