import type { IdentityStore } from "@millrace/store";
import type { IdentityConfig } from "./config.ts";
import type { IdentityEvents } from "./events.ts";
import type { KeyRing } from "./key-ring.ts";
import type { LoginGuard } from "./login-guard.ts";
import type { OidcProvider } from "./oidc-provider.ts";
import type { PasswordHasher } from "./password-hasher.ts";
import type { RevocationFeed } from "./revocation-feed.ts";
import type { TokenMirror } from "./token-mirror.ts";
import type { Upkeep } from "./upkeep.ts";

/** What the methods of the identity services stand on. */
export interface IdentityContext {
  readonly config: IdentityConfig;
  readonly store: IdentityStore;
  readonly events: IdentityEvents;
  readonly hasher: PasswordHasher;
  readonly guard: LoginGuard;
  readonly keys: KeyRing;
  readonly feed: RevocationFeed;
  readonly mirror: TokenMirror;
  readonly upkeep: Upkeep;
  /** Undefined: no provider is configured. */
  readonly oidc: OidcProvider | undefined;
}
