import { randomUUID } from "node:crypto";
import type { HandlerContext } from "@connectrpc/connect";
import type { TokenPair, User } from "@millrace/protocol";
import type { IdentityContext } from "./identity-context.ts";
import { issueTokens } from "./issue-tokens.ts";
import { hashSecret, newSecret } from "./secret.ts";
import { addressOf } from "./signed-in.ts";

const longestUserAgent = 256;

/** What a login is answered with. */
export interface SignedIn {
  readonly user: User;
  readonly tokens?: TokenPair;
  readonly csrfToken: string;
}

/** Opens a session for somebody who has shown who they are. */
export async function openSession(
  context: IdentityContext,
  call: HandlerContext,
  userId: string,
  cookie: boolean,
): Promise<SignedIn> {
  const { config, store, events } = context;
  const refresh = newSecret();
  const address = addressOf(call);
  const session = await store.sessions.open({
    id: randomUUID(),
    userId,
    address,
    userAgent: (call.requestHeader.get("user-agent") ?? "").slice(0, longestUserAgent),
    refreshHash: hashSecret(refresh),
    idleMs: config.sessionIdleMs,
    longestMs: config.sessionLongestMs,
  });
  const signedIn = await issueTokens(context, call, { session, refresh, cookie });
  events.loggedIn(userId, address);
  return signedIn;
}
