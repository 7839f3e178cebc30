import { InvalidArgumentError } from "commander";
import { Role } from "@millrace/protocol";

const roleByName = new Map<string, Role>([
  ["viewer", Role.VIEWER],
  ["publisher", Role.PUBLISHER],
  ["plugin-author", Role.PLUGIN_AUTHOR],
  ["operator", Role.OPERATOR],
  ["administrator", Role.ADMINISTRATOR],
]);

export function roleName(role: Role): string {
  for (const [name, value] of roleByName) if (value === role) return name;
  return String(role);
}

/** Collects `--role a --role b` and `--role a,b`; a parser of option values. */
export function roles(text: string, previous: readonly Role[] = []): Role[] {
  return [...previous, ...text.split(",").map(parseRole)];
}

export function parseRole(text: string): Role {
  const role = roleByName.get(text);
  if (role !== undefined) return role;
  throw new InvalidArgumentError(`It must be one of ${[...roleByName.keys()].join(", ")}.`);
}
