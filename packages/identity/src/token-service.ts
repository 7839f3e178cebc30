import type { ServiceImpl } from "@connectrpc/connect";
import { MillraceError, type TokenService } from "@millrace/protocol";
import { createToken } from "./create-token.ts";
import type { IdentityContext } from "./identity-context.ts";
import { requireAccount } from "./require-account.ts";
import { requireCaller } from "./signed-in.ts";

/** Keeps the caller's tokens for programs. */
export function tokenService(context: IdentityContext): ServiceImpl<typeof TokenService> {
  const { store, feed, events } = context;
  return {
    createToken: (request, call) => createToken(context, request, call),
    async listTokens(_request, call) {
      const { user } = await requireAccount(context, call);
      return { tokens: await store.apiTokens.list(user.id) };
    },
    async revokeToken({ id }, call) {
      // A token that is given up may always end itself.
      const caller = requireCaller(call);
      if (caller.tokenId !== id) await requireAccount(context, call);
      if (!(await store.apiTokens.revoke(caller.subject, { id }))) {
        throw new MillraceError("not_found", `no token ${id}`);
      }
      feed.poke();
      events.tokenRevoked(caller.subject, id);
      return {};
    },
  };
}
