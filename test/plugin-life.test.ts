import { connectBus } from "@millrace/bus";
import { afterAll, beforeAll, expect, it } from "vitest";
import { packPlugin, type PluginPackage } from "./lib/plugin-package.ts";
import { ServiceProcess } from "./lib/process.ts";
import type { ErrorJson, JobJson } from "./lib/rest.ts";
import { startStandaloneProcess, type SystemUnderTest } from "./lib/standalone.ts";
import { until } from "./lib/until.ts";

/** A plugin as REST shows it, as far as these tests look. */
interface PluginJson {
  readonly manifest: { readonly version: string };
  readonly state: string;
  readonly stateReason?: string;
  readonly canary?: object;
}

let system: SystemUnderTest;
let second: ServiceProcess;
let key: CryptoKeyPair;
let keyId: string;

/** Answers with its version to the input "v". */
function teller(version: string, change: object = {}) {
  return {
    name: "teller",
    version,
    handlers: [{ type: "tell", export: "config" }],
    config: { v: version },
    ...change,
  };
}

async function push(plugin: PluginPackage, options: object = {}): Promise<PluginJson> {
  const { status, body } = await system.rest.call<{ plugin: PluginJson } & Partial<ErrorJson>>(
    "POST",
    "/api/v1/plugins",
    { ...plugin, ...options },
  );
  if (status !== 200) throw new Error(`${body.error?.code}: ${body.error?.message}`);
  return body.plugin;
}

async function plugin(name = "teller"): Promise<PluginJson> {
  const { body } = await system.rest.call<{ plugin: PluginJson }>("GET", `/api/v1/plugins/${name}`);
  return body.plugin;
}

async function tell(): Promise<string | undefined> {
  const { result } = await system.rest.submit({ type: "tell", payload: { text: "v" }, waitMs: 10_000 });
  return result?.output?.text;
}

beforeAll(async () => {
  system = await startStandaloneProcess({ MILLRACE_PLUGINS_DIR: "" });
  second = ServiceProcess.service("worker", {
    NATS_URL: system.natsUrl,
    MILLRACE_QUEUES: "default",
    MILLRACE_OPS_PORT: "0",
  });
  key = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
  const publicKey = Buffer.from(await crypto.subtle.exportKey("raw", key.publicKey)).toString("base64");
  const { body } = await system.rest.call<{ key: { keyId: string } }>("POST", "/api/v1/plugin-keys", {
    publicKey,
    owner: "the tests",
  });
  keyId = body.key.keyId;
}, 120_000);

afterAll(async () => {
  await second[Symbol.asyncDispose]();
  await system[Symbol.asyncDispose]();
});

it("installs what a trusted key signed, and refuses what was changed since", async () => {
  const signed = await packPlugin(teller("1.0.0"), key);
  expect(await push(signed)).toMatchObject({ state: "PLUGIN_STATE_ACTIVE" });
  expect(await tell()).toBe("1.0.0");
  const changed = { ...signed, manifest: teller("1.0.0", { capabilities: { http: ["*.example.com"] } }) };
  await expect(push(changed)).rejects.toThrow(/does not fit/);
});

// It waits for what it began: longer than a test may by default.
it("serves a new version on all workers within a second, and loses no job", { timeout: 120_000 }, async () => {
  await using bus = await connectBus({ servers: system.natsUrl, name: "load" });
  await using publisher = bus.publisher();
  const accepted: Promise<string>[] = [];
  const enough = new AbortController();
  const load = (async () => {
    for (let n = 0; !enough.signal.aborted; n++) {
      const id = `swap-${n}`;
      const message = { subject: `jobs.normal.default.tell.${id}`, data: new TextEncoder().encode("v") };
      accepted.push(publisher.publish(message).then(() => id));
      // A steady few hundred a second, and no more than the workers keep up with.
      if (n % 5 === 4) await new Promise((resolve) => setTimeout(resolve, 10));
      if (n % 50 === 49) await tell();
    }
  })();
  for (const version of ["1.1.0", "1.2.0", "1.3.0"]) {
    await push(await packPlugin(teller(version), key));
    const since = Date.now();
    let lastOldMs = 0;
    await until(async () => {
      const askedMs = Date.now() - since;
      if ((await tell()) === version) return true;
      lastOldMs = askedMs;
      return undefined;
    }, `version ${version}`);
    expect(lastOldMs).toBeLessThan(1000);
  }
  // From here on nobody runs an older one, whichever worker takes the job.
  const after = await Promise.all(Array.from({ length: 40 }, () => tell()));
  expect(new Set(after)).toEqual(new Set(["1.3.0"]));
  enough.abort();
  await load;
  const ids = await Promise.all(accepted);
  const jobs = await Promise.all(ids.map((id) => system.rest.jobIn(id, "JOB_STATE_SUCCEEDED", 60_000)));
  const versions = new Set(jobs.map((job) => job.result?.text));
  expect([...versions].filter((version) => !/^1\.[0-3]\.0$/.test(version ?? ""))).toEqual([]);
  expect(jobs.filter((job) => job.attempt !== 1)).toEqual([]);
});

it("takes a canary back that fails more, and says with which figures", async () => {
  const broken = await packPlugin(teller("2.0.0", { handlers: [{ type: "tell", export: "trap" }] }), key);
  expect(await push(broken, { canaryPercent: 50, canaryBounds: { minCalls: 10 } })).toHaveProperty("canary");
  const ids = Array.from({ length: 200 }, (_, n) => `canary-${n}`);
  await Promise.all(
    ids.map((id) =>
      system.rest.submit({
        id,
        type: "tell",
        payload: { text: "v" },
        // However long it takes until the canary has gone.
        maxAttempts: 100,
        backoff: { kind: "fixed", baseMs: 300 },
      }),
    ),
  );
  const back = await until(async () => {
    const now = await plugin();
    return now.canary === undefined ? now : undefined;
  }, "the canary to be taken back");
  expect(back).toMatchObject({ state: "PLUGIN_STATE_ACTIVE", manifest: { version: "1.3.0" } });
  expect(back.stateReason).toMatch(/2\.0\.0.*\d/);
  // What failed on it succeeds on the version that serves.
  await Promise.all(ids.map((id) => system.rest.jobIn(id, "JOB_STATE_SUCCEEDED", 30_000)));
});

it("rolls back at once", async () => {
  const { status } = await system.rest.call("POST", "/api/v1/plugins/teller:rollback", {});
  expect(status).toBe(200);
  await until(async () => ((await tell()) === "1.2.0" ? true : undefined), "version 1.2.0", 2000);
  expect(await plugin()).toMatchObject({ manifest: { version: "1.2.0" } });
});

it("shows figure and limit of a breach in the job, and what was recorded of the call", async () => {
  await push(
    await packPlugin({
      name: "spinner",
      version: "1.0.0",
      handlers: [{ type: "spin", export: "spin" }],
      limits: { fuel: 1_000_000 },
    }),
  );
  await system.rest.submit({ id: "spin-1", type: "spin", maxAttempts: 1 });
  const job = await system.rest.jobIn("spin-1", "JOB_STATE_DEAD");
  expect(job.error).toMatchObject({
    code: "OUT_OF_FUEL",
    breach: { resource: "fuel", limit: "1000000", unit: "units" },
  });
  expect(job).toMatchObject({ plugin: "spinner@1.0.0" });
  const { body } = await system.rest.call<{ recording: { export: string } }>("GET", "/api/v1/recordings/spin-1");
  expect(body.recording).toMatchObject({ export: "spin", error: { code: "OUT_OF_FUEL" } });
});

it("brings events and ticks to plugins as jobs, and answers below /ext", async () => {
  await push(
    await packPlugin({
      name: "extender",
      version: "1.0.0",
      events: [{ pattern: "order.*", export: "noop" }],
      schedules: [{ name: "often", cron: "* * * * * *", export: "noop" }],
      // Without output: an answer of 200 with an empty body.
      endpoints: [{ path: "quiet", methods: ["POST"], export: "talk" }],
    }),
  );
  await until(async () => {
    const answer = await system.rest.fetch("/ext/extender/quiet", { method: "POST", body: "hi" });
    if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
    return true;
  }, "the endpoint");
  const published = await system.rest.call("POST", "/api/v1/events", { name: "order.paid", data: { actor: "ada" } });
  expect(published.status).toBe(200);
  for (const queue of ["plugin-events", "plugin-tasks"]) {
    await until(async () => {
      const { body } = await system.rest.call<{ jobs?: JobJson[] }>("GET", `/api/v1/jobs?queue=${queue}&type=extender`);
      return body.jobs?.some((job) => job.state === "JOB_STATE_SUCCEEDED") ? true : undefined;
    }, `a job in ${queue}`);
  }
});

it("stops serving what a revoked key signed, and the jobs wait and say why", async () => {
  const { status } = await system.rest.call("POST", `/api/v1/plugin-keys/${keyId}:revoke`, { reason: "leaked" });
  expect(status).toBe(200);
  await until(
    async () => {
      const { id } = await system.rest.submit({ type: "tell", payload: { text: "v" } });
      const job = await until(async () => {
        const row = await system.rest.job(id);
        return row?.state === "JOB_STATE_SUCCEEDED" || row?.waitReason ? row : undefined;
      }, "the job to run or wait");
      return job.waitReason?.includes("leaked") ? true : undefined;
    },
    "jobs to wait",
    5000,
  );
});
