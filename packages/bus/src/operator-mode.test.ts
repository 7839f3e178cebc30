/** A broker with accounts and users of an operator (JWTs): services come in with .creds files, each account with streams of its own. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nkeys } from "nats";
import { afterAll, beforeAll, expect, it } from "vitest";
import { brokerOptions } from "./broker-settings.ts";
import { connectBus, type Bus } from "./bus.ts";
import { TestNats } from "./test-nats.ts";

type Key = ReturnType<typeof nkeys.createUser>;

const stack = new AsyncDisposableStack();
const encoder = new TextEncoder();
const base64url = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString("base64url");
const unlimited = { subs: -1, data: -1, payload: -1 };
let folder: string;
let natsUrl: string;

/** As `nsc` signs them: what the subject may, signed by its issuer. */
function sign(issuer: Key, subject: Key, type: "operator" | "account" | "user", nats: object): string {
  const header = base64url(JSON.stringify({ typ: "JWT", alg: "ed25519-nkey" }));
  const [iss, sub] = [issuer.getPublicKey(), subject.getPublicKey()];
  const claims = {
    jti: sub,
    iat: Math.floor(Date.now() / 1000),
    iss,
    sub,
    name: type,
    nats: { type, version: 2, ...nats },
  };
  const text = `${header}.${base64url(JSON.stringify(claims))}`;
  return `${text}.${base64url(issuer.sign(encoder.encode(text)))}`;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-operator-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const [operator, system] = [nkeys.createOperator(), nkeys.createAccount()];
  const accounts = [
    { name: "one", key: nkeys.createAccount() },
    { name: "two", key: nkeys.createAccount() },
  ];
  const limits = { ...unlimited, conn: -1, leaf: -1, imports: -1, exports: -1, wildcards: true };
  const store = { mem_storage: -1, disk_storage: 600 << 20, streams: -1, consumer: -1 };
  const preload = [
    `${system.getPublicKey()}: ${sign(operator, system, "account", { limits })}`,
    ...accounts.map(({ key }) => {
      const jwt = sign(operator, key, "account", { limits: { ...limits, ...store } });
      return `${key.getPublicKey()}: ${jwt}`;
    }),
  ];
  for (const { name, key } of accounts) {
    const user = nkeys.createUser();
    const jwt = sign(key, user, "user", unlimited);
    const seed = new TextDecoder().decode(user.getSeed());
    const text = [
      `-----BEGIN NATS USER JWT-----\n${jwt}\n------END NATS USER JWT------\n`,
      `-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`,
    ];
    await writeFile(join(folder, `${name}.creds`), text.join("\n"));
  }
  const include = join(folder, "operator.conf");
  await writeFile(
    include,
    `operator: ${sign(operator, operator, "operator", {})}
system_account: ${system.getPublicKey()}
resolver: MEMORY
resolver_preload: {\n${preload.join("\n")}\n}\n`,
  );
  natsUrl = stack.use(await TestNats.start({ dataDir: join(folder, "server"), include: [include] })).url;
});

afterAll(() => stack.disposeAsync());

function busOf(account: string): Promise<Bus> {
  return connectBus(brokerOptions("control", { natsUrl, natsCredsFile: join(folder, `${account}.creds`) }));
}

it("keeps accounts apart, and makes streams within what each may store", async () => {
  for (const account of ["one", "two"]) {
    await using bus = await busOf(account);
    await bus.ensureTopology();
    const ack = await bus.publishDurable("jobs.high.q.t", new Uint8Array(10));
    expect(ack).toMatchObject({ stream: "JOBS_HIGH", seq: 1 });
    const { streams } = await bus.limits();
    const reserved = streams.reduce((sum, { maxBytes }) => sum + maxBytes, 0);
    expect(reserved).toBeLessThan(600 << 20);
    expect(Math.min(...streams.map(({ maxBytes }) => maxBytes))).toBeGreaterThan(1 << 20);
  }
});

it("lets nobody in without credentials", async () => {
  await expect(connectBus({ servers: natsUrl, name: "nobody" })).rejects.toMatchObject({ code: "unauthenticated" });
});
