/** Services as processes, each as its own user of the broker, over TLS with certificates on both sides. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { provideNatsServer } from "@millrace/bus/nats-server";
import { createPublisher } from "@millrace/client";
import { IdentityRuntimeService, SystemService } from "@millrace/protocol";
import { createClient, createGrpcTransport } from "@millrace/rpc";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { nkeyAuthenticator } from "nats";
import { expect, it } from "vitest";
import { deployExamplePlugins } from "./lib/deploy-plugins.ts";
import { firstToken } from "./lib/first-token.ts";
import { startPostgres } from "./lib/postgres.ts";
import { freePort, root, ServiceProcess } from "./lib/process.ts";
import { Rest } from "./lib/rest.ts";
import { runScenario } from "./lib/scenario.ts";
import { until } from "./lib/until.ts";

const login = { type: "user.login", actor: "ada", success: true };

function millrace(...args: string[]): void {
  execFileSync(process.execPath, ["packages/cli/src/main.ts", ...args], { cwd: root, stdio: "pipe" });
}

it("runs with a user for each service, and goes on with another authority", { timeout: 240_000 }, async () => {
  const postgres = await startPostgres();
  if (postgres === undefined) {
    console.warn("no PostgreSQL found: many processes need one");
    return;
  }
  await using stack = new AsyncDisposableStack();
  stack.use(postgres);
  const folder = mkdtempSync(join(tmpdir(), "millrace-secured-"));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const [certs, users] = [join(folder, "certs"), join(folder, "nats")];
  millrace("certs", certs);
  millrace("nats", "config", users, "--certs", certs);
  const include = [join(users, "authorization.conf"), join(users, "tls.conf")];
  const nats = stack.use(await provideNatsServer({ dataDir: join(folder, "server"), include }));
  const natsUrl = `tls://127.0.0.1:${new URL(nats.url).port}`;
  millrace("nats", "streams", "--nats", natsUrl, "--seed", join(users, "admin.seed"), "--certs", certs);

  const [http, grpc, natsHttp] = [await freePort(), await freePort(), await freePort()];
  const [controlGrpc, identityGrpc] = [await freePort(), await freePort()];
  const filesOf = (user: string) => ({ ca: join(certs, "ca.pem"), ...pairOf(user) });
  const pairOf = (user: string) => ({ cert: join(certs, `${user}.pem`), key: join(certs, `${user}.key`) });
  const start = async (service: string, extra: Record<string, string> = {}) => {
    const ops = await freePort();
    const { ca, cert, key } = filesOf(service);
    const started = stack.use(
      ServiceProcess.service(service, {
        MILLRACE_LOG_LEVEL: "info",
        NATS_URL: natsUrl,
        MILLRACE_NATS_SEED_FILE: join(users, `${service}.seed`),
        MILLRACE_TLS_CA: ca,
        MILLRACE_TLS_CERT: cert,
        MILLRACE_TLS_KEY: key,
        DATABASE_URL: postgres.url,
        MILLRACE_OPS_PORT: String(ops),
        MILLRACE_QUEUES: "default",
        ...extra,
      }),
    );
    await started.ready(`http://127.0.0.1:${service === "gateway" ? extra["MILLRACE_HTTP_PORT"] : ops}/health/ready`);
    return started;
  };
  const identity = await start("identity", { MILLRACE_GRPC_PORT: String(identityGrpc) });
  const services = [
    identity,
    await start("projector"),
    await start("scheduler"),
    await start("control", { MILLRACE_GRPC_PORT: String(controlGrpc) }),
    await start("worker"),
    // One gateway calls control and identity over NATS, the other by gRPC.
    await start("gateway", {
      MILLRACE_HTTP_PORT: String(natsHttp),
      MILLRACE_GRPC_PORT: "0",
      MILLRACE_IDENTITY: "on",
    }),
  ];
  const grpcGateway = await start("gateway", {
    MILLRACE_HTTP_PORT: String(http),
    MILLRACE_GRPC_PORT: String(grpc),
    MILLRACE_IDENTITY: "on",
    MILLRACE_CONTROL_URL: `https://localhost:${controlGrpc}`,
    MILLRACE_IDENTITY_URL: `https://localhost:${identityGrpc}`,
  });

  const refusals = () =>
    readFileSync(join(folder, "server/nats.log"), "utf8")
      .split("\n")
      .filter((line) => line.includes("Violation"));
  const restUrl = `http://127.0.0.1:${http}`;
  const token = await firstToken(restUrl, identity.output);
  const rest = new Rest(restUrl, token);
  await deployExamplePlugins(rest);
  const seed = new TextEncoder().encode(readFileSync(join(users, "publisher.seed"), "utf8").trim());
  const { ca: caFile, cert: certFile, key: keyFile } = filesOf("publisher");
  const publisher = {
    authenticator: nkeyAuthenticator(seed),
    tls: { caFile, certFile, keyFile },
    inboxPrefix: "_INBOX.publisher",
  };
  await runScenario({ rest, grpcAddress: `127.0.0.1:${grpc}`, natsUrl, token, publisher });
  // The scenario's publisher tried one thing that it may not, which shows that refusals are seen here.
  expect(refusals()).toHaveLength(1);

  const natsRest = new Rest(`http://127.0.0.1:${natsHttp}`, token);
  const waited = await natsRest.submit({ id: "n-1", type: "audit", payload: { json: login }, waitMs: 10_000 });
  expect(waited.result).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
  {
    const connection = {
      seedFile: join(users, "publisher.seed"),
      certificates: filesOf("publisher"),
      inboxPrefix: "_INBOX.publisher",
    };
    await using client = await createPublisher({ natsUrl, connection });
    expect(await client.publish({ type: "audit", payload: login, id: "n-2", uniqueKey: "once" })).toMatchObject({
      duplicate: false,
    });
    // Whose job it is says the gateway; who publishes can name nobody.
    expect(await natsRest.jobIn("n-2", "JOB_STATE_SUCCEEDED")).not.toHaveProperty("owner");
    expect(await natsRest.jobIn("n-1", "JOB_STATE_SUCCEEDED")).toHaveProperty("owner");
  }

  const askAs = async (user: string): Promise<void> => {
    const open = (port: number) =>
      createGrpcTransport({ baseUrl: `https://localhost:${port}`, certificates: filesOf(user) });
    await using control = open(controlGrpc);
    await using users = open(identityGrpc);
    const answers = await Promise.allSettled([
      createClient(SystemService, control).getInfo({}, { timeoutMs: 5000 }),
      createClient(IdentityRuntimeService, users).getKeys({}, { timeoutMs: 5000 }),
    ]);
    const refused = answers.filter(({ status }) => status === "rejected");
    if (refused.length > 0) throw new Error(`${refused.length} refused`);
  };
  await askAs("gateway");
  await expect(askAs("worker")).rejects.toThrow("2 refused");
  const refused = (): true | undefined =>
    services.filter(({ output }) => output.includes("the certificate is not a gateway's")).length === 2 || undefined;
  await until(async () => refused(), "control and identity to tell why they refused");

  // Other services may check our tokens by the keys that are shown.
  const email = "ada@example.com";
  const password = "correct horse battery";
  await rest.call("POST", "/api/v1/users", { email, password, roles: ["ROLE_VIEWER"] });
  type LoggedIn = { tokens: { accessToken: string } };
  const { body } = await rest.call<LoggedIn>("POST", "/api/v1/auth/login", { email, password });
  const keys = createRemoteJWKSet(new URL("/.well-known/jwks.json", restUrl));
  const checked = await jwtVerify(body.tokens.accessToken, keys, { issuer: "millrace", audience: "millrace" });
  expect(checked.payload["email"]).toBe(email);

  // Another authority altogether: whoever went on with the old certificates could not connect any more.
  rmSync(join(certs, "ca.pem"));
  millrace("certs", certs);
  process.kill(nats.pid ?? 0, "SIGHUP");
  for (const service of services) {
    const remade = () => service.output.includes("connection to NATS remade") || undefined;
    await until(async () => remade(), "connections with the new certificates");
  }
  await until(() => askAs("gateway").then(() => true as const), "control and identity with new certificates");
  for (const [id, door] of [["r-1", rest] as const, ["r-2", natsRest] as const]) {
    const after = await door.submit({ id, type: "audit", payload: { json: login }, waitMs: 10_000 });
    expect(after.result).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
    await door.jobIn(id, "JOB_STATE_SUCCEEDED");
  }
  expect(refusals()).toHaveLength(1);
  for (const service of [grpcGateway, ...services]) expect(await service.stop()).toBe(0);
});
