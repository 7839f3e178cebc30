import { randomUUID } from "node:crypto";
import { MillraceError, Role } from "@millrace/protocol";
import type { IdentityContext } from "./identity-context.ts";
import { apiTokenPrefix, hashSecret, newSecret } from "./secret.ts";

/** Shown once. */
export interface FirstAdministrator {
  readonly email: string;
  /** Has to be changed at the first login. */
  readonly password: string;
}

/** Makes an administrator where there is no user at all; undefined where there is one. */
export async function ensureAdministrator(
  { store, hasher, events }: IdentityContext,
  email: string,
): Promise<FirstAdministrator | undefined> {
  if (!(await store.users.isEmpty())) return undefined;
  const password = newSecret();
  const passwordHash = await hasher.hash(password);
  const roles = [Role.ADMINISTRATOR];
  const added = { id: randomUUID(), email, displayName: "Administrator", roles, passwordHash, passwordExpired: true };
  try {
    await store.users.insert(added);
  } catch (error) {
    // Another instance was quicker.
    if (error instanceof MillraceError && error.code === "already_exists") return undefined;
    throw error;
  }
  events.userAdded(added.id, "first start");
  return { email, password };
}

/**
 * A token of the first administrator for programs of whoever owns this machine. One of the same name that was there
 * before ends.
 * @throws MillraceError `failed_precondition` without an administrator
 */
export async function issueLocalToken(
  { config, store, events, feed, mirror }: IdentityContext,
  name: string,
): Promise<string> {
  const owner = await store.users.firstAdministrator();
  if (owner === undefined) throw new MillraceError("failed_precondition", "there is no administrator");
  const secret = newSecret(apiTokenPrefix);
  await store.apiTokens.revoke(owner.id, { name });
  const token = await store.apiTokens.insert({
    id: randomUUID(),
    userId: owner.id,
    name,
    secretHash: hashSecret(secret),
    hint: secret.slice(0, apiTokenPrefix.length + 4),
    scopes: ["admin"],
    queues: [],
    types: [],
    expiresAtMs: Date.now() + config.longestTokenMs,
  });
  mirror.hurry();
  feed.poke();
  events.tokenCreated(owner.id, token.id);
  return secret;
}
