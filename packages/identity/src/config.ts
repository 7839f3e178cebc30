import { Role } from "@millrace/protocol";

/** Whether people may add themselves. */
export type Registration = "off" | "invitation" | "open";

/** An OIDC provider that people may sign in with. */
export interface OidcConfig {
  /** As its discovery document says it. */
  readonly issuer: string;
  readonly clientId: string;
  /** Undefined for a public client. */
  readonly clientSecret: string | undefined;
  /** Where the provider may send browsers back to; the first is taken when a request names none. */
  readonly redirectUris: readonly string[];
  /** Roles of those who come for the first time; undefined: only users that are there already may come. */
  readonly newUserRoles: readonly Role[] | undefined;
}

/** Bounds and rules of the identity service; each has a default that suits a single machine. */
export interface IdentityConfig {
  /** Asked at each registration: it may change meanwhile. */
  readonly registration: () => Registration;
  /** What those who register by themselves may do. */
  readonly openRoles: readonly Role[];
  /** An access token holds so long. */
  readonly accessMs: number;
  /** A session ends when it is not used for so long… */
  readonly sessionIdleMs: number;
  /** …and after so long in any case. */
  readonly sessionLongestMs: number;
  /** A signing key is replaced so often. */
  readonly keyMs: number;
  /** The key before is still published for so long. */
  readonly keyOverlapMs: number;
  /** API tokens that say nothing expire after so long. */
  readonly tokenMs: number;
  /** The farthest expiry that an API token may have. */
  readonly longestTokenMs: number;
  /** Passwords that are hashed at one time; each takes a core for some 30 ms. */
  readonly hashesAtOnce: number;
  /** Passwords that wait for their turn; one more is refused. */
  readonly hashesWaiting: number;
  /** Revocations by other instances are looked for so often. */
  readonly revocationPollMs: number;
  /** An identity says so often that it is at work; the others grant less of the rate limits then. */
  readonly memberBeatMs: number;
  /** Callers are known for so long while the database is away. */
  readonly awayMs: number;
  /** Encrypts the signing keys in the database, 32 bytes; undefined: they are stored in plain. */
  readonly keySecrets: readonly Uint8Array[];
  /** The cookies of browsers go over TLS only, under `__Host-` names. */
  readonly secureCookies: boolean;
  readonly oidc: OidcConfig | undefined;
}

const dayMs = 24 * 3_600_000;

export const defaultIdentityConfig: IdentityConfig = {
  registration: () => "invitation",
  openRoles: [Role.VIEWER],
  accessMs: 15 * 60_000,
  sessionIdleMs: 30 * dayMs,
  sessionLongestMs: 90 * dayMs,
  keyMs: 30 * dayMs,
  keyOverlapMs: dayMs,
  tokenMs: 90 * dayMs,
  longestTokenMs: 3650 * dayMs,
  hashesAtOnce: 1,
  hashesWaiting: 64,
  revocationPollMs: 400,
  memberBeatMs: 5_000,
  awayMs: 3_600_000,
  keySecrets: [],
  secureCookies: false,
  oidc: undefined,
};
