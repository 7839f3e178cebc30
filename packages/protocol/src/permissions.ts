/** All that a role or a scope can give; the methods of the contract name one each. */
export const permissions = [
  "jobs:read",
  "jobs:submit",
  "jobs:cancel",
  "jobs:retry",
  "queues:read",
  "queues:manage",
  "plugins:read",
  "plugins:push",
  "plugins:call",
  "plugins:manage",
  "keys:manage",
  "events:publish",
  "users:read",
  "users:manage",
  "settings:read",
  "settings:manage",
  "audit:read",
  "system:read",
  "system:repair",
] as const;

export type Permission = (typeof permissions)[number];

const viewer: readonly Permission[] = ["jobs:read", "queues:read", "plugins:read", "system:read"];
const publisher: readonly Permission[] = [...viewer, "jobs:submit", "jobs:cancel", "jobs:retry", "events:publish"];
const pluginAuthor: readonly Permission[] = [...viewer, "plugins:push", "plugins:call"];
const writer: readonly Permission[] = [...new Set([...publisher, ...pluginAuthor])];
const operator: readonly Permission[] = [...writer, "queues:manage", "plugins:manage"];

/** What each role may do, by its number in millrace.identity.v1.Role. */
const rolePermissions: ReadonlyMap<number, readonly Permission[]> = new Map([
  [1, viewer],
  [2, publisher],
  [3, pluginAuthor],
  [4, operator],
  [5, permissions],
]);

/** Scopes of API tokens that stand for several permissions. */
const scopePermissions: ReadonlyMap<string, readonly Permission[]> = new Map([
  ["read", viewer],
  ["write", writer],
  ["admin", permissions],
]);

export function isPermission(value: string): value is Permission {
  return (permissions as readonly string[]).includes(value);
}

/** What any of the roles gives. @param roles numbers of millrace.identity.v1.Role; unknown ones give nothing */
export function permissionsOfRoles(roles: readonly number[]): Set<Permission> {
  return new Set(roles.flatMap((role) => rolePermissions.get(role) ?? []));
}

export function isScope(value: string): boolean {
  return scopePermissions.has(value) || isPermission(value);
}

/** What the scopes of an API token give, before it is cut to what its owner may do; unknown ones give nothing. */
export function permissionsOfScopes(scopes: readonly string[]): Set<Permission> {
  return new Set(scopes.flatMap((scope) => scopePermissions.get(scope) ?? (isPermission(scope) ? [scope] : [])));
}
