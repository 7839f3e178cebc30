import { randomUUID } from "node:crypto";
import { createClient, type Client } from "@connectrpc/connect";
import {
  AuthService,
  callerHeader,
  encodeCaller,
  IdentityRuntimeService,
  LimiterRuntimeService,
  permissionsOfRoles,
  TokenService,
  UserService,
  type CallerInfo,
  type Role,
} from "@millrace/protocol";
import { createDirectTransport, createPipeline } from "@millrace/rpc";
import { createLogger, Health } from "@millrace/service-kit";
import { openStore, type Store } from "@millrace/store";
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet, type JWTPayload } from "jose";
import type { IdentityConfig } from "./config.ts";
import { startIdentity, type Identity } from "./start-identity.ts";

/** Identity with what it stands on, for tests, called as a gateway calls it. */
export interface IdentityFixture extends AsyncDisposable {
  readonly store: Store;
  readonly identity: Identity;
  readonly auth: Client<typeof AuthService>;
  readonly users: Client<typeof UserService>;
  readonly tokens: Client<typeof TokenService>;
  readonly runtime: Client<typeof IdentityRuntimeService>;
  readonly limiter: Client<typeof LimiterRuntimeService>;
  /** What an access token says, checked by the published keys. */
  claims(accessToken: string): Promise<JWTPayload>;
  /** Call options of whoever an access token stands for. */
  bearer(accessToken: string): Promise<CallHeaders>;
}

export interface CallHeaders {
  readonly headers: Record<string, string>;
}

export const strongPassword = "correct horse battery";

/** Call options of a caller as a gateway makes them. */
export function callAs(caller: Partial<CallerInfo>, headers: Record<string, string> = {}): CallHeaders {
  const whole: CallerInfo = {
    subject: "anonymous",
    email: "",
    permissions: [],
    queues: [],
    types: [],
    tokenId: "",
    sessionId: "",
    address: "192.0.2.1",
    requestId: "r",
    door: "rest",
    ...caller,
  };
  return { headers: { ...headers, [callerHeader]: encodeCaller(whole) } };
}

/** A migrated database of its own. */
export async function openIdentityStore(): Promise<Store> {
  const store = await openStore({ dataDir: "memory://" });
  await store.migrate();
  return store;
}

/** @param given a store that somebody else closes; one of its own without it */
export async function startIdentityFixture(
  config: Partial<IdentityConfig> = {},
  given?: Store,
): Promise<IdentityFixture> {
  await using stack = new AsyncDisposableStack();
  const store = given ?? stack.use(await openIdentityStore());
  const logger = createLogger({ name: "identity-test", level: "silent" });
  const identity = stack.use(
    await startIdentity({ hashesAtOnce: 2, ...config }, { store, logger, health: new Health() }),
  );
  const transport = createDirectTransport(createPipeline({ services: identity.services }));
  const runtime = createClient(IdentityRuntimeService, transport);

  async function claims(accessToken: string): Promise<JWTPayload> {
    const jwks = JSON.parse((await runtime.getKeys({})).jwks) as JSONWebKeySet;
    const pinned = { issuer: "millrace", audience: "millrace", algorithms: ["EdDSA"] };
    return (await jwtVerify(accessToken, createLocalJWKSet(jwks), pinned)).payload;
  }

  const running = stack.move();
  return {
    store,
    identity,
    runtime,
    auth: createClient(AuthService, transport),
    users: createClient(UserService, transport),
    tokens: createClient(TokenService, transport),
    limiter: createClient(LimiterRuntimeService, transport),
    claims,
    async bearer(accessToken) {
      const { sub = "", sid, email, roles } = await claims(accessToken);
      return callAs({
        subject: sub,
        sessionId: String(sid),
        email: String(email),
        permissions: [...permissionsOfRoles(roles as Role[])],
      });
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Adds a user with the strong password, as an administrator does. */
export async function addUser({ users }: IdentityFixture, email: string, roles: Role[]): Promise<string> {
  const all = callAs({ subject: randomUUID(), permissions: [...permissionsOfRoles([5])] });
  const { user } = await users.createUser({ email, roles, password: strongPassword }, all);
  return user?.id ?? "";
}
