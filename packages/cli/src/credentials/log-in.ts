import { hostname } from "node:os";
import { createClient } from "@millrace/client";
import { MillraceError, permissions, type LoginResponse } from "@millrace/protocol";
import type { KeptLogin } from "./credentials-file.ts";
import type { Questions } from "./questions.ts";

/**
 * Signs in, and takes a token for this machine: unlike a session, commands may use it side by side.
 * @throws Connect's errors
 */
export async function logIn(
  server: string,
  email: string,
  questions: Questions,
  signal: AbortSignal,
): Promise<KeptLogin> {
  const password = await questions.askSecretly(`Password of ${email}`);
  let session = await signIn(server, email, password, signal);
  if (session.user?.passwordExpired === true) {
    await using client = createClient({ baseUrl: server, credentials: { token: accessToken(session) } });
    session = await questions.setNewPassword("This password has to be changed. New password", async (newPassword) => {
      await client.auth.changePassword({ currentPassword: password, newPassword }, { signal });
      return await signIn(server, email, newPassword, signal);
    });
  }
  await using client = createClient({ baseUrl: server, credentials: { token: accessToken(session) } });
  const me = await client.auth.getMe({}, { signal });
  const scopes = me.permissions.length === permissions.length ? ["admin"] : me.permissions;
  const created = await client.tokens.createToken({ name: `millrace on ${hostname()}`, scopes }, { signal });
  await client.auth.logout({}, { signal });
  return { token: created.secret, tokenId: created.token?.id ?? "", email: me.user?.email ?? email };
}

/** Who a token that somebody has is for. @throws Connect's errors */
export async function checkToken(server: string, token: string, signal: AbortSignal): Promise<KeptLogin> {
  await using client = createClient({ baseUrl: server, credentials: { token } });
  const { user } = await client.auth.getMe({}, { signal });
  return { token, tokenId: "", email: user?.email ?? "" };
}

async function signIn(server: string, email: string, password: string, signal: AbortSignal): Promise<LoginResponse> {
  await using client = createClient({ baseUrl: server });
  // Awaited here: the connection ends with this function.
  return await client.auth.login({ email, password }, { signal });
}

function accessToken({ tokens }: LoginResponse): string {
  if (tokens === undefined) throw new MillraceError("internal", "the server gave no token");
  return tokens.accessToken;
}
