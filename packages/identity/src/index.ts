export type { IdentityConfig } from "./config.ts";
export type { FirstAdministrator } from "./first-administrator.ts";
export { identityConfigOf, identitySettings } from "./process-config.ts";
export { readKeySecret } from "./read-key-secret.ts";
export { startIdentity, type Identity, type IdentityDeps } from "./start-identity.ts";
