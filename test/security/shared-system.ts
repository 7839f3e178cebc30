import { startPostgres } from "../lib/postgres.ts";
import { startPuppetServer } from "../lib/puppet-server.ts";
import { startStandaloneProcess } from "../lib/standalone.ts";

/** The system that all attacks of this folder are tried on; each file comes from an address of its own. */
export interface SharedSystem {
  readonly httpUrl: string;
  readonly grpcAddress: string;
  readonly natsUrl: string;
  /** The first administrator's. */
  readonly token: string;
  /** Plugins may call it, although its address is private; it is the OIDC provider as well. */
  readonly puppetUrl: string;
  /** Nothing may ever call it. */
  readonly innerUrl: string;
}

declare module "vitest" {
  interface ProvidedContext {
    readonly secured: SharedSystem;
  }
}

/** Few enough that a test reaches them, and enough for all else that it does. */
export const rates = { strangerBurst: 100, identityBurst: 400, jobBurst: 2_500 };
export const pageOfOurs = "https://app.example/signed-in";

interface Project {
  provide(key: "secured", system: SharedSystem): void;
}

/** Starts it once for all files, behind what it takes for a proxy. */
export async function setup(project: Project): Promise<() => Promise<void>> {
  await using stack = new AsyncDisposableStack();
  const postgres = await startPostgres();
  if (postgres !== undefined) stack.use(postgres);
  const puppet = stack.use(await startPuppetServer());
  const inner = stack.use(await startPuppetServer());
  const system = stack.use(
    await startStandaloneProcess({
      ...(postgres === undefined ? {} : { DATABASE_URL: postgres.url }),
      MILLRACE_PLUGINS_DIR: "",
      MILLRACE_WATCH_PLUGINS: "false",
      MILLRACE_EXECUTORS: "1",
      MILLRACE_REGISTRATION: "open",
      MILLRACE_TRUSTED_PROXY_HOPS: "1",
      MILLRACE_STRANGER_RATE: "10",
      MILLRACE_STRANGER_BURST: String(rates.strangerBurst),
      MILLRACE_IDENTITY_RATE: "20",
      MILLRACE_IDENTITY_BURST: String(rates.identityBurst),
      MILLRACE_JOB_RATE: "10",
      MILLRACE_JOB_BURST: String(rates.jobBurst),
      MILLRACE_PLUGIN_HTTP_PRIVATE: new URL(puppet.url).host,
      MILLRACE_OIDC_ISSUER: puppet.url,
      MILLRACE_OIDC_CLIENT_SECRET: "the secret of the client",
      MILLRACE_OIDC_REDIRECT_URIS: pageOfOurs,
      MILLRACE_OIDC_ROLES: "viewer",
    }),
  );
  const { httpUrl, grpcAddress, natsUrl, token } = system;
  project.provide("secured", { httpUrl, grpcAddress, natsUrl, token, puppetUrl: puppet.url, innerUrl: inner.url });
  const running = stack.move();
  return () => running.disposeAsync();
}
