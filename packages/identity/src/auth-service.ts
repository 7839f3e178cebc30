import type { ServiceImpl } from "@connectrpc/connect";
import { MillraceError, type AuthService } from "@millrace/protocol";
import { beginOidcLogin } from "./begin-oidc-login.ts";
import { changePassword } from "./change-password.ts";
import { completeOidcLogin } from "./complete-oidc-login.ts";
import type { IdentityContext } from "./identity-context.ts";
import { login } from "./login.ts";
import { logout } from "./logout.ts";
import { refresh } from "./refresh.ts";
import { register } from "./register.ts";
import { requireAccount } from "./require-account.ts";
import { requestPasswordReset, resetPassword } from "./reset-password.ts";
import { requireCaller } from "./signed-in.ts";

/** Signs people in and out. */
export function authService(context: IdentityContext): ServiceImpl<typeof AuthService> {
  const { store, feed } = context;
  return {
    register: (request, call) => register(context, request, call),
    login: (request, call) => login(context, request, call),
    refresh: (request, call) => refresh(context, request, call),
    logout: (request, call) => logout(context, request, call),
    changePassword: (request, call) => changePassword(context, request, call),
    requestPasswordReset: (request) => requestPasswordReset(context, request),
    resetPassword: (request) => resetPassword(context, request),
    beginOidcLogin: (request, call) => beginOidcLogin(context, request, call),
    completeOidcLogin: (request, call) => completeOidcLogin(context, request, call),
    async getMe(_request, call) {
      const caller = requireCaller(call);
      const stored = await store.users.get(caller.subject);
      if (stored === undefined) throw new MillraceError("unauthenticated", "sign in first");
      return { user: stored.user, permissions: [...caller.permissions] };
    },
    async listSessions(_request, call) {
      const { caller, user } = await requireAccount(context, call);
      const sessions = await store.sessions.list(user.id);
      return { sessions: sessions.map((session) => ({ ...session, current: session.id === caller.sessionId })) };
    },
    async revokeSession({ id }, call) {
      const { user } = await requireAccount(context, call);
      if (!(await store.sessions.end(user.id, id))) throw new MillraceError("not_found", `no session ${id}`);
      feed.poke();
      return {};
    },
  };
}
