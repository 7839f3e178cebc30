import type { Client } from "@millrace/client";
import { MillraceError } from "@millrace/protocol";

/** The id of a user who is named by email or id. @throws MillraceError not_found */
export async function findUserId(client: Client, user: string, call: { signal: AbortSignal }): Promise<string> {
  if (!user.includes("@")) return user;
  const { users } = await client.users.listUsers({ search: user, includeDeleted: true, pageSize: mostMatches }, call);
  const email = user.toLowerCase();
  // A deleted user gives the address free for another one.
  const found = users
    .filter((one) => one.email.toLowerCase() === email)
    .toSorted((one, other) => Number(one.deletedAt !== undefined) - Number(other.deletedAt !== undefined));
  if (found[0] !== undefined) return found[0].id;
  throw new MillraceError("not_found", `no user ${user}`);
}

/** Addresses that hold another one whole are few. */
const mostMatches = 100;
