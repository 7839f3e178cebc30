export type { IdentityConfig } from "./config.ts";
export type { FirstAdministrator } from "./first-administrator.ts";
export { identityConfigOf, identitySettings } from "./process-config.ts";
export { readKeySecrets } from "./read-key-secrets.ts";
export { startIdentity, type Identity, type IdentityDeps } from "./start-identity.ts";
