/**
 * First parts of the names of events that tell of Millrace itself: of entries of the audit trail, jobs, plugins and its users.
 * Whoever hears one may take it for a fact, so neither clients nor plugins publish any.
 */
export const reservedEventRoots = ["audit", "job", "plugin", "user"] as const;

export function isReservedEvent(name: string): boolean {
  return (reservedEventRoots as readonly string[]).includes(name.split(".", 1)[0] ?? "");
}
