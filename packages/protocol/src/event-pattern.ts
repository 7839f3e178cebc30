/**
 * Whether a pattern of a plugin's manifest fits the name of an event: `*` stands for one part, a last `>` for one or more.
 * The rules of NATS subjects, for names such as `user.login`.
 */
export function matchesEvent(pattern: string, name: string): boolean {
  const wanted = pattern.split(".");
  const parts = name.split(".");
  for (const [index, part] of wanted.entries()) {
    if (part === ">" && index === wanted.length - 1) return parts.length > index;
    if (parts[index] === undefined || (part !== "*" && part !== parts[index])) return false;
  }
  return parts.length === wanted.length;
}
