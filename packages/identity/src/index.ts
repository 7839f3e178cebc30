export { defaultIdentityConfig, type IdentityConfig, type OidcConfig, type Registration } from "./config.ts";
export type { FirstAdministrator } from "./first-administrator.ts";
export { startIdentity, type Identity, type IdentityDeps } from "./start-identity.ts";
export { identityConfigOf, identitySettings } from "./process-config.ts";
