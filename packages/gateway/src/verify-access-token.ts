import { jwtVerify } from "jose";
import { permissionsOfRoles } from "@millrace/protocol";
import type { Identity } from "@millrace/rpc";
import type { KeyRing } from "./key-ring.ts";

/** Pinned: what the token says about its algorithm decides nothing. */
const algorithms = ["EdDSA", "ES256"];
const issuer = "millrace";
const audience = "millrace";
/** Clocks of two machines. */
const clockToleranceS = 5;
/** Longer than identity makes any; whoever has the key for a moment cannot make one for a year. */
const maxTokenAgeS = 16 * 60;

export interface KnownCaller {
  readonly identity: Identity;
  /** Since the epoch, ms. */
  readonly issuedAtMs: number;
  /** It is looked up again then. */
  readonly expiresAtMs: number;
  /** It does not hold any more then. */
  readonly endsAtMs: number;
}

/** @throws JOSEError for what identity has not made for us; ConnectError when the keys cannot be had */
export async function verifyAccessToken(token: string, keys: KeyRing): Promise<KnownCaller> {
  const { payload } = await jwtVerify(token, (header, jws) => keys.find(header, jws), {
    algorithms,
    issuer,
    audience,
    clockTolerance: clockToleranceS,
    maxTokenAge: maxTokenAgeS,
    requiredClaims: ["sub", "sid", "iat", "exp", "roles"],
  });
  const { sub, sid, iat, exp, roles, email } = payload;
  const identity: Identity = {
    subject: String(sub),
    email: typeof email === "string" ? email : "",
    permissions: permissionsOfRoles(Array.isArray(roles) ? roles.filter((role) => typeof role === "number") : []),
    queues: [],
    types: [],
    tokenId: "",
    sessionId: String(sid),
  };
  const expiresAtMs = (exp ?? 0) * 1000;
  return { identity, issuedAtMs: (iat ?? 0) * 1000, expiresAtMs, endsAtMs: expiresAtMs };
}
