import { randomUUID } from "node:crypto";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import {
  isJobType,
  isQueueName,
  isScope,
  MillraceError,
  permissionsOfScopes,
  type ApiToken,
  type CreateTokenRequest,
} from "@millrace/protocol";
import { invalid } from "./check-account-input.ts";
import type { IdentityContext } from "./identity-context.ts";
import { requireAccount } from "./require-account.ts";
import { apiTokenPrefix, hashSecret, newSecret } from "./secret.ts";

/** Of the secret, to tell tokens apart: 24 of its 256 bits. */
const hintLength = apiTokenPrefix.length + 4;

/** Makes a token that can do no more than its owner. Its secret is in the answer, and nowhere else. */
export async function createToken(
  context: IdentityContext,
  request: CreateTokenRequest,
  call: HandlerContext,
): Promise<{ readonly token: ApiToken; readonly secret: string }> {
  const { config, store, events, feed, mirror } = context;
  const { caller, user } = await requireAccount(context, call);
  const { name, scopes, queues, types } = request;
  checkNames("scopes", scopes, isScope, "must be read, write, admin or a permission");
  checkNames("queues", queues, isQueueName, "must be the name of a queue");
  checkNames("types", types, isJobType, "must be a type of job");
  const beyond = [...permissionsOfScopes(scopes)].find((permission) => !caller.permissions.includes(permission));
  if (beyond !== undefined) {
    throw new MillraceError("permission_denied", `a scope gives ${beyond}, which the caller does not have`);
  }
  const now = Date.now();
  const expiresAtMs = request.expiresAt === undefined ? now + config.tokenMs : timestampMs(request.expiresAt);
  if (!(expiresAtMs > now && expiresAtMs <= now + config.longestTokenMs)) {
    throw invalid("expires_at", `must lie within the next ${Math.floor(config.longestTokenMs / 86_400_000)} days`);
  }
  const secret = newSecret(apiTokenPrefix);
  const token = await store.apiTokens.insert({
    id: randomUUID(),
    userId: user.id,
    name,
    secretHash: hashSecret(secret),
    hint: secret.slice(0, hintLength),
    scopes: [...new Set(scopes)],
    queues: [...new Set(queues)],
    types: [...new Set(types)],
    expiresAtMs,
  });
  mirror.hurry();
  feed.poke();
  events.tokenCreated(user.id, token.id);
  return { token, secret };
}

function checkNames(field: string, names: readonly string[], fits: (name: string) => boolean, reason: string): void {
  const wrong = names.findIndex((name) => !fits(name));
  if (wrong >= 0) throw invalid(`${field}[${wrong}]`, reason);
}
