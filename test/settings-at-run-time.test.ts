/** What is set by REST holds within a second, without a restart: in one process, and in many. */
import { once } from "node:events";
import { mkdtempSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startTestNats } from "@millrace/bus/testing";
import { runtimeSettings } from "@millrace/service-kit";
import { expect, it } from "vitest";
import { deployExamplePlugins } from "./lib/deploy-plugins.ts";
import { firstToken } from "./lib/first-token.ts";
import { startPostgres } from "./lib/postgres.ts";
import { freePort, root, ServiceProcess } from "./lib/process.ts";
import { Rest, type ErrorJson } from "./lib/rest.ts";
import { startStandaloneProcess } from "./lib/standalone.ts";
import { until } from "./lib/until.ts";

const aSecond = 1_000;

interface SettingJson {
  name: string;
  value?: unknown;
  source: string;
  description: string;
  changeable?: boolean;
  secret?: boolean;
  updatedAt?: string;
  processes?: { process: string; value?: unknown; source: string }[];
}

async function put(rest: Rest, name: string, value: unknown): Promise<SettingJson> {
  const { status, body } = await rest.call<{ setting: SettingJson }>("PUT", `/api/v1/settings/${name}`, { value });
  expect([name, status]).toEqual([name, 200]);
  return body.setting;
}

async function list(rest: Rest): Promise<SettingJson[]> {
  return (await rest.call<{ settings: SettingJson[] }>("GET", "/api/v1/settings")).body.settings;
}

async function one(rest: Rest, name: string): Promise<SettingJson> {
  const { status, body } = await rest.call<{ setting: SettingJson }>("GET", `/api/v1/settings/${name}`);
  expect([name, status]).toEqual([name, 200]);
  return body.setting;
}

/** Nobody with this name: what strangers may ask, and how often, is looked at all the same. */
function signIn(rest: Rest): Promise<number> {
  const body = { email: "nobody@example.org", password: "what was it again" };
  return rest.call("POST", "/api/v1/auth/login", body).then(({ status }) => status);
}

/** In whose words a registration without an invitation is refused; empty when it is not. */
async function register(rest: Rest): Promise<string> {
  const body = { email: `${crypto.randomUUID()}@example.org`, password: "correct horse battery" };
  const answer = await rest.call<Partial<ErrorJson>>("POST", "/api/v1/auth/register", body);
  return answer.body.error?.message ?? "";
}

/** Sets strangers' limits to next to nothing; the next few of them hear of it. */
async function limitStrangers(rest: Rest): Promise<void> {
  await put(rest, "strangerRate", 0.1);
  await put(rest, "strangerBurst", 1);
  const refused = async (): Promise<true | undefined> => ((await signIn(rest)) === 429 ? true : undefined);
  await until(refused, "strangers to be refused", aSecond);
}

async function freeStrangers(rest: Rest): Promise<void> {
  for (const name of ["strangerRate", "strangerBurst"]) {
    expect((await rest.call("DELETE", `/api/v1/settings/${name}`)).status).toBe(200);
  }
  const heard = async (): Promise<true | undefined> => ((await signIn(rest)) === 401 ? true : undefined);
  await until(heard, "strangers to be heard again", aSecond);
}

const closed = "registration is switched off: ask an administrator";
const invited = "registration needs an invitation";

async function closeRegistration(rest: Rest): Promise<void> {
  expect(await register(rest)).toBe(invited);
  await put(rest, "registration", "off");
  const refused = async (): Promise<true | undefined> => ((await register(rest)) === closed ? true : undefined);
  await until(refused, "registration to be closed", aSecond);
}

/** With one connection for each address, a second beside that of these calls is refused. */
async function limitConnections(rest: Rest): Promise<void> {
  const { hostname, port } = new URL(rest.base);
  const isRefused = async (): Promise<boolean> => {
    const socket = connect(Number(port), hostname);
    const answered = once(socket, "data").then(() => false);
    const ended = once(socket, "close").then(() => true);
    answered.catch(() => undefined);
    socket.on("error", () => undefined).write("GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n");
    const refused = await Promise.race([answered, ended]).catch(() => true);
    socket.destroy();
    return refused;
  };
  expect(await isRefused()).toBe(false);
  await put(rest, "maxConnectionsPerAddress", 1);
  await until(async () => (await isRefused()) || undefined, "a second connection to be refused", aSecond);
  // These calls have a connection; were it gone, another is had once the one above is forgotten.
  await until(() => put(rest, "maxConnectionsPerAddress", 1_000), "the limit to be lifted", aSecond);
  await until(async () => !(await isRefused()) || undefined, "a second connection to be taken", aSecond);
}

it("is described in docs/settings.md", () => {
  const page = readFileSync(join(root, "docs/settings.md"), "utf8");
  expect(Object.keys(runtimeSettings).filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
});

it("holds at once in one process, survives a restart, and gives way to the environment", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "millrace-settings-"));
  const env = { MILLRACE_PLUGINS_DIR: "", MILLRACE_OIDC_CLIENT_SECRET: "hush-hush" };
  {
    const { rest, process } = await startStandaloneProcess(env, dataDir);
    await limitStrangers(rest);
    await freeStrangers(rest);
    await closeRegistration(rest);
    await limitConnections(rest);
    await put(rest, "addressBurst", 5_000);
    await put(rest, "allowOrigins", ["https://app.example.org"]);
    const origin = { headers: { origin: "https://app.example.org" } };
    const page = await rest.fetch("/api/v1/settings", origin);
    expect(page.headers.get("access-control-allow-origin")).toBe("https://app.example.org");

    const bad = await rest.call<ErrorJson>("PUT", "/api/v1/settings/jobRate", { value: "fast" });
    expect([bad.status, bad.body.error.details]).toEqual([
      422,
      [{ field: "value", reason: expect.stringContaining("expected number") }],
    ]);
    const unknown = await rest.call<ErrorJson>("PUT", "/api/v1/settings/jobrates", { value: 1 });
    expect([unknown.status, unknown.body.error.message]).toEqual([404, "no setting jobrates; did you mean jobRate?"]);
    const fixed = await rest.call<ErrorJson>("PUT", "/api/v1/settings/httpPort", { value: 1 });
    expect([fixed.status, fixed.body.error.message]).toEqual([422, expect.stringContaining("MILLRACE_HTTP_PORT")]);

    const settings = await list(rest);
    expect(settings.filter(({ description }) => description === "").map(({ name }) => name)).toEqual([]);
    expect(JSON.stringify(settings)).not.toContain("hush");
    expect(settings.find(({ name }) => name === "oidcClientSecret")).toMatchObject({
      secret: true,
      source: "SETTING_SOURCE_ENVIRONMENT",
    });
    const audited = async () => {
      const { body } = await rest.call<{ entries: { action: string; object: string; result: string }[] }>(
        "GET",
        "/api/v1/audit?action=SettingsService/",
      );
      const objects = body.entries.map(({ action, object, result }) => `${action} ${object} ${result}`);
      return objects.includes("SettingsService/UpdateSetting registration ok") &&
        objects.includes("SettingsService/ResetSetting strangerRate ok") &&
        objects.includes("SettingsService/UpdateSetting jobRate failed_precondition")
        ? true
        : undefined;
    };
    await until(audited, "changes in the audit trail");
    expect(await process.stop()).toBe(0);
  }
  await using system = await startStandaloneProcess({ ...env, MILLRACE_ADDRESS_BURST: "7000" }, dataDir);
  const { rest } = system;
  expect(await register(rest)).toBe(closed);
  expect(await one(rest, "registration")).toMatchObject({ value: "off", source: "SETTING_SOURCE_DATABASE" });
  const pinned = { value: 7000, source: "SETTING_SOURCE_ENVIRONMENT", updatedAt: expect.any(String) };
  expect(await one(rest, "addressBurst")).toMatchObject(pinned);
  expect(await put(rest, "addressBurst", 6_000)).toMatchObject(pinned);
  expect((await rest.call("DELETE", "/api/v1/settings/registration")).status).toBe(200);
  expect(await register(rest)).toBe(invited);
}, 120_000);

it("reaches every process, which says what it was told otherwise", { timeout: 120_000 }, async () => {
  const postgres = await startPostgres();
  if (postgres === undefined) {
    console.warn("no PostgreSQL found: many processes need one");
    return;
  }
  await using stack = new AsyncDisposableStack();
  stack.use(postgres);
  const nats = stack.use(await startTestNats());
  const httpUrl = `http://127.0.0.1:${await freePort()}`;
  const start = async (service: string, extra: Record<string, string> = {}): Promise<ServiceProcess> => {
    const url = service === "gateway" ? httpUrl : `http://127.0.0.1:${await freePort()}`;
    const process = stack.use(
      ServiceProcess.service(service, {
        NATS_URL: nats.url,
        DATABASE_URL: postgres.url,
        [service === "gateway" ? "MILLRACE_HTTP_PORT" : "MILLRACE_OPS_PORT"]: new URL(url).port,
        // Empty is not set: a level that is set would hold whatever the database says.
        MILLRACE_LOG_LEVEL: "",
        ...extra,
      }),
    );
    await process.ready(`${url}/health/ready`);
    return process;
  };
  const gatewayEnv = { MILLRACE_IDENTITY: "on", MILLRACE_GRPC_PORT: "0", MILLRACE_ADDRESS_BURST: "7000" };
  const control = await start("control");
  const [identity, worker, gateway] = await Promise.all([
    start("identity"),
    start("worker", { MILLRACE_SLOTS: "3" }),
    start("gateway", gatewayEnv),
  ]);
  const rest = new Rest(httpUrl, await firstToken(httpUrl, identity.output));

  await deployExamplePlugins(rest, ["redact"]);
  const work = () => rest.submit({ type: "redact", payload: { text: "call 555-0100" }, waitMs: 10_000 });
  const debugLine = /"level":"debug"/;
  await work();
  expect(worker.output).not.toMatch(debugLine);
  await put(rest, "logLevel", "debug");
  await until(async () => {
    await work();
    return debugLine.test(worker.output) || undefined;
  }, "lines of the worker for those who look for a defect");

  await closeRegistration(rest);
  expect(await put(rest, "addressBurst", 6_000)).toMatchObject({ value: 6_000, source: "SETTING_SOURCE_DATABASE" });
  const says = async (name: string) => {
    const { processes = [] } = (await list(rest)).find((setting) => setting.name === name) ?? {};
    return processes.length === 0 ? undefined : processes;
  };
  expect(await until(() => says("addressBurst"), "the gateway to tell its own")).toMatchObject([
    { process: "gateway", value: 7_000, source: "SETTING_SOURCE_ENVIRONMENT" },
  ]);
  expect(await until(() => says("slots"), "the worker to tell its own")).toMatchObject([
    { process: "worker", value: 3, source: "SETTING_SOURCE_ENVIRONMENT" },
  ]);

  await limitStrangers(rest);
  await freeStrangers(rest);
  await limitStrangers(rest);
  // A gateway that starts serves once it knows what is set.
  expect(await gateway.stop()).toBe(0);
  const next = await start("gateway", gatewayEnv);
  expect(await signIn(rest)).toBe(429);
  for (const process of [next, worker, identity, control]) expect(await process.stop()).toBe(0);
});
