import type { ServiceImpl } from "@connectrpc/connect";
import { permissionsOfRoles, permissionsOfScopes, type IdentityRuntimeService } from "@millrace/protocol";
import type { IdentityContext } from "./identity-context.ts";

/** What gateways know callers by; no door offers it. */
export function identityRuntimeService(context: IdentityContext): ServiceImpl<typeof IdentityRuntimeService> {
  const { store, keys, feed } = context;
  return {
    async getKeys() {
      return { jwks: await keys.jwks() };
    },
    async findToken({ secretHash }) {
      const found = await store.apiTokens.find(secretHash);
      if (found === undefined) return {};
      const { token, user } = found;
      const owned = permissionsOfRoles(user.roles);
      return {
        caller: {
          userId: user.id,
          email: user.email,
          // What its owner may do by now bounds what it may do.
          permissions: [...permissionsOfScopes(token.scopes)].filter((permission) => owned.has(permission)),
          queues: token.queues,
          types: token.types,
          tokenId: token.id,
          ...(token.expiresAt === undefined ? {} : { expiresAt: token.expiresAt }),
        },
      };
    },
    watchRevocations: (_request, call) => feed.watch(call.signal),
  };
}
