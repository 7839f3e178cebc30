import { Role } from "@millrace/protocol";
import {
  brokerSettings,
  ConfigError,
  databaseSettings,
  grpcSettings,
  LiveConfig,
  loadConfig,
  runtimeSettings,
  serviceSettings,
  z,
  type ConfigInputs,
} from "@millrace/service-kit";
import type { IdentityConfig, OidcConfig } from "./config.ts";

const roleByName = {
  viewer: Role.VIEWER,
  publisher: Role.PUBLISHER,
  plugin_author: Role.PLUGIN_AUTHOR,
  operator: Role.OPERATOR,
  administrator: Role.ADMINISTRATOR,
} as const;

/** Settings of users and sessions, for the schema of a process that serves them. */
export const identitySettings = {
  registration: runtimeSettings.registration,
  secureCookies: z
    .boolean()
    .default(false)
    .describe("The cookies of browsers go over TLS only; set it wherever browsers come by https"),
  keySecret: z.string().optional().meta({
    secret: true,
    description:
      "Encrypts the signing keys in the database: 32 random bytes in base64 or hex; after it those it takes the place of",
  }),
  keySecretFile: z.string().optional().describe("File with that secret, readable by its owner only"),
  oidcIssuer: z.url().optional().describe("Issuer of an OIDC provider that people may sign in with"),
  oidcClientId: z.string().min(1).default("millrace").describe("This system's name at the OIDC provider"),
  oidcClientSecret: z.string().optional().meta({ secret: true, description: "Its secret at the OIDC provider" }),
  oidcRedirectUris: z
    .array(z.url())
    .default([])
    .describe("Pages that the OIDC provider may send browsers back to; the first is the default"),
  oidcRoles: z
    .array(z.enum(Object.keys(roleByName) as (keyof typeof roleByName)[]))
    .default([])
    .describe(
      "Roles of those who come by the OIDC provider for the first time; empty: only users that are there already may come",
    ),
};

const schema = z.object({
  ...serviceSettings,
  ...brokerSettings,
  ...grpcSettings,
  ...identitySettings,
  host: z.string().default("127.0.0.1").describe("Address that gRPC, health and metrics are served on"),
  databaseUrl: z.string().meta({ env: "DATABASE_URL", secret: true, description: "A PostgreSQL" }),
  ...databaseSettings,
  opsPort: z.number().int().min(0).max(65_535).default(0).describe("Port of health and metrics; 0 takes a free one"),
});

/** What identity needs to know as a process of its own. @throws ConfigError with all problems at once */
export function loadProcessConfig(inputs: ConfigInputs): LiveConfig<typeof schema> {
  return new LiveConfig(schema, loadConfig(schema, inputs));
}

/**
 * The settings as the service takes them.
 * @param values may change: registration follows
 * @throws ConfigError for a provider that nobody could come back from
 */
export function identityConfigOf(values: z.output<z.ZodObject<typeof identitySettings>>): Partial<IdentityConfig> {
  return { registration: () => values.registration, secureCookies: values.secureCookies, oidc: oidcOf(values) };
}

function oidcOf(values: z.output<z.ZodObject<typeof identitySettings>>): OidcConfig | undefined {
  const { oidcIssuer: issuer, oidcClientId: clientId, oidcClientSecret: clientSecret } = values;
  const { oidcRedirectUris: redirectUris, oidcRoles } = values;
  if (issuer === undefined) return undefined;
  if (redirectUris.length === 0) {
    throw new ConfigError([
      { key: "oidcRedirectUris", origin: "MILLRACE_OIDC_REDIRECT_URIS", reason: "is required with oidcIssuer" },
    ]);
  }
  const newUserRoles = oidcRoles.map((name) => roleByName[name]);
  return {
    issuer,
    clientId,
    clientSecret,
    redirectUris,
    newUserRoles: newUserRoles.length === 0 ? undefined : newUserRoles,
  };
}
