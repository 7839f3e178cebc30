import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  MillraceError,
  permissionsOfRoles,
  permissionsOfScopes,
  type CallerSchema,
  type IdentityRuntimeService,
} from "@millrace/protocol";
import type { HeldToken } from "@millrace/store";
import type { IdentityContext } from "./identity-context.ts";

/** What gateways know callers by; no door offers it. */
export function identityRuntimeService(context: IdentityContext): ServiceImpl<typeof IdentityRuntimeService> {
  const { store, keys, feed, mirror } = context;

  /** Undefined: the database is away. */
  async function read(secretHash: Uint8Array): Promise<{ readonly held: HeldToken | undefined } | undefined> {
    if (feed.away) return undefined;
    try {
      return { held: await store.apiTokens.find(secretHash) };
    } catch (error) {
      if (error instanceof MillraceError && error.code === "unavailable") return undefined;
      throw error;
    }
  }

  return {
    getKeys: () => ({ jwks: keys.jwks() }),
    async findToken({ secretHash }) {
      const answer = await read(secretHash);
      if (answer !== undefined) return answer.held === undefined ? {} : { caller: callerOf(answer.held) };
      const held = feed.holds ? mirror.find(secretHash) : undefined;
      // No error: that would count as identity being away, and keep out those who are known.
      return held === undefined ? { undecided: true } : { caller: callerOf(held) };
    },
    watchRevocations: (_request, call) => feed.watch(call.signal),
  };
}

function callerOf({ token, user }: HeldToken): MessageInitShape<typeof CallerSchema> {
  const owned = permissionsOfRoles(user.roles);
  return {
    userId: user.id,
    email: user.email,
    // What its owner may do by now bounds what it may do.
    permissions: [...permissionsOfScopes(token.scopes)].filter((permission) => owned.has(permission)),
    queues: token.queues,
    types: token.types,
    tokenId: token.id,
    ...(token.expiresAt === undefined ? {} : { expiresAt: token.expiresAt }),
  };
}
