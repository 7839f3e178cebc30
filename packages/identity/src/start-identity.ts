import {
  AuthService,
  IdentityRuntimeService,
  LimiterRuntimeService,
  TokenService,
  UserService,
} from "@millrace/protocol";
import { bindService, type ServiceBinding } from "@millrace/rpc";
import { PartStack, type Health, type Logger } from "@millrace/service-kit";
import type { Store } from "@millrace/store";
import { authService } from "./auth-service.ts";
import { defaultIdentityConfig, type IdentityConfig } from "./config.ts";
import { IdentityEvents } from "./events.ts";
import { ensureAdministrator, issueLocalToken, type FirstAdministrator } from "./first-administrator.ts";
import type { IdentityContext } from "./identity-context.ts";
import { identityRuntimeService } from "./identity-runtime-service.ts";
import { KeyCipher } from "./key-cipher.ts";
import { KeyRing } from "./key-ring.ts";
import { limiterRuntimeService } from "./limiter-runtime-service.ts";
import { LoginGuard } from "./login-guard.ts";
import { Membership } from "./membership.ts";
import { OidcProvider } from "./oidc-provider.ts";
import { PasswordHasher } from "./password-hasher.ts";
import { RevocationFeed } from "./revocation-feed.ts";
import { TokenMirror } from "./token-mirror.ts";
import { tokenService } from "./token-service.ts";
import { Upkeep } from "./upkeep.ts";
import { userService } from "./user-service.ts";

export interface IdentityDeps {
  readonly store: Store;
  readonly logger: Logger;
  readonly health: Health;
}

/** Stops within 5 s, whatever the database does. */
export interface Identity extends AsyncDisposable {
  /** For `createPipeline`. The runtime services among them are for gateways only. */
  readonly services: readonly ServiceBinding[];
  /** Makes an administrator with a one-time password where there is no user at all. */
  ensureAdministrator(email?: string): Promise<FirstAdministrator | undefined>;
  /** A token of the first administrator, in place of the one that was issued under the name before. */
  issueLocalToken(name: string): Promise<string>;
}

const firstAdministratorEmail = "admin@localhost";
/** Revocations are told for so much longer than an access token lives. */
const skewMs = 60_000;

/** Keeps users, sessions and tokens. The database must be migrated. */
export async function startIdentity(config: Partial<IdentityConfig>, deps: IdentityDeps): Promise<Identity> {
  const { logger, health } = deps;
  const store = deps.store.identity;
  const all: IdentityConfig = { ...defaultIdentityConfig, ...config };
  const events = new IdentityEvents(logger);
  await using starting = new PartStack({ logger });
  const cipher = new KeyCipher(all.keySecrets);
  const keys = new KeyRing(store.signingKeys, { keyMs: all.keyMs, overlapMs: all.keyOverlapMs, cipher });
  await keys.rotate();
  const mirror = new TokenMirror(store.apiTokens);
  const feed = starting.use(
    new RevocationFeed(store.revocations, mirror, {
      pollMs: all.revocationPollMs,
      rememberMs: all.accessMs + skewMs,
      awayMs: all.awayMs,
      onError: (error) => events.databaseAway(error),
    }),
  );
  await feed.start();
  const membership = starting.use(new Membership(store.members, all.memberBeatMs));
  await membership.beat();
  const upkeep = starting.use(new Upkeep({ keys, store, events, membership, beatMs: all.memberBeatMs }));
  const context: IdentityContext = {
    config: all,
    store,
    events,
    keys,
    hasher: starting.use(new PasswordHasher({ atOnce: all.hashesAtOnce, mostWaiting: all.hashesWaiting })),
    guard: new LoginGuard(store.loginFailures),
    feed,
    mirror,
    upkeep,
    oidc: all.oidc === undefined ? undefined : new OidcProvider(all.oidc),
  };
  starting.use(health.check("users", () => deps.store.ping().then(() => undefined)));
  const running = starting.move();
  return {
    services: [
      bindService(AuthService, authService(context)),
      bindService(UserService, userService(context)),
      bindService(TokenService, tokenService(context)),
      bindService(IdentityRuntimeService, identityRuntimeService(context)),
      bindService(LimiterRuntimeService, limiterRuntimeService(membership)),
    ],
    ensureAdministrator: (email = firstAdministratorEmail) => ensureAdministrator(context, email),
    issueLocalToken: (name) => issueLocalToken(context, name),
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}
