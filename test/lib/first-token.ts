import { Rest } from "./rest.ts";

const chosen = "a password of her own";

/**
 * Does what an administrator does first: logs in with the one-time password, changes it, and makes a token.
 * @param output what the identity process has printed
 * @returns the token, which may do everything
 */
export async function firstToken(httpUrl: string, output: string): Promise<string> {
  const [, email, password] = /^administrator (\S+), one-time password (\S+)$/m.exec(output) ?? [];
  if (email === undefined || password === undefined) throw new Error(`no one-time password in:\n${output}`);
  const session = await logIn(httpUrl, email, password);
  await expect200(session, "/api/v1/auth/password", { currentPassword: password, newPassword: chosen });
  const { secret } = await expect200<{ secret: string }>(await logIn(httpUrl, email, chosen), "/api/v1/tokens", {
    name: "tests",
    scopes: ["admin"],
  });
  return secret;
}

async function logIn(httpUrl: string, email: string, password: string): Promise<Rest> {
  const body = { email, password };
  const answer = await expect200<{ tokens: { accessToken: string } }>(
    new Rest(httpUrl, ""),
    "/api/v1/auth/login",
    body,
  );
  return new Rest(httpUrl, answer.tokens.accessToken);
}

async function expect200<T>(rest: Rest, path: string, request: object): Promise<T> {
  const { status, body } = await rest.call<T>("POST", path, request);
  if (status !== 200) throw new Error(`${path} answered ${status}: ${JSON.stringify(body)}`);
  return body;
}
