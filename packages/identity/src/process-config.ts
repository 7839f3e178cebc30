import { Role } from "@millrace/protocol";
import { brokerSettings, ConfigError, loadConfig, serviceSettings, z, type ConfigInputs } from "@millrace/service-kit";
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
  /** Whether people may add themselves. */
  registration: z.enum(["off", "invitation", "open"]).default("invitation"),
  /** The cookies of browsers go over TLS only. Set it wherever browsers come by https. */
  secureCookies: z.boolean().default(false),
  /** Issuer of an OIDC provider that people may sign in with. */
  oidcIssuer: z.url().optional(),
  oidcClientId: z.string().min(1).default("millrace"),
  oidcClientSecret: z.string().optional().meta({ secret: true }),
  /** Pages that the provider may send browsers back to; the first is the default. */
  oidcRedirectUris: z.array(z.url()).default([]),
  /** Roles of those who come by the provider for the first time; empty: only users that are there already may come. */
  oidcRoles: z.array(z.enum(Object.keys(roleByName) as (keyof typeof roleByName)[])).default([]),
};

const schema = z.object({
  ...serviceSettings,
  ...brokerSettings,
  ...identitySettings,
  host: z.string().default("127.0.0.1"),
  databaseUrl: z.string().meta({ env: "DATABASE_URL", secret: true }),
  /** Health and metrics. */
  opsPort: z.number().int().min(0).max(65_535).default(0),
});

/** What identity needs to know as a process of its own. @throws ConfigError with all problems at once */
export function readProcessConfig(inputs: ConfigInputs): z.output<typeof schema> {
  return loadConfig(schema, inputs).values;
}

/** The settings as the service takes them. @throws ConfigError for a provider that nobody could come back from */
export function identityConfigOf(values: z.output<z.ZodObject<typeof identitySettings>>): Partial<IdentityConfig> {
  const { registration, secureCookies } = values;
  return { registration, secureCookies, oidc: oidcOf(values) };
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
