/** Each user of the broker tries what it must not do, against a real nats-server with the generated configuration. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jobLogs } from "@millrace/protocol";
import { connect, Events, nkeyAuthenticator } from "nats";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { authorizationConfig, createBrokerKeys } from "./broker-config.ts";
import { brokerUsers, permissionsOf, type BrokerUser } from "./broker-users.ts";
import { TestNats } from "./test-nats.ts";

const keys = createBrokerKeys();
let folder: string;
let server: TestNats;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-users-"));
  const include = join(folder, "authorization.conf");
  await writeFile(include, authorizationConfig(keys));
  server = await TestNats.start({ dataDir: join(folder, "server"), include: [include] });
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

interface Attempt {
  /** In the words of the broker. */
  readonly verb: "publish" | "subscription";
  readonly subject: string;
}

const publish = (...subjects: string[]): Attempt[] => subjects.map((subject) => ({ verb: "publish", subject }));
const subscribe = (...subjects: string[]): Attempt[] => subjects.map((subject) => ({ verb: "subscription", subject }));
const text = ({ verb, subject }: Attempt): string => `${verb} ${subject}`;

/** What the broker refused of these. */
async function refusedOf(user: BrokerUser, attempts: readonly Attempt[]): Promise<string[]> {
  const seed = new TextEncoder().encode(keys.find((key) => key.user === user)?.seed);
  const client = await connect({ servers: server.url, authenticator: nkeyAuthenticator(seed), noAsyncTraces: true });
  const refused: string[] = [];
  void (async () => {
    // Never ends: the client leaves it open when it closes.
    for await (const { type, permissionContext } of client.status()) {
      if (type !== Events.Error || permissionContext === undefined) continue;
      refused.push(`${permissionContext.operation} ${permissionContext.subject}`);
    }
  })();
  for (const { verb, subject } of attempts) {
    if (verb === "publish") client.publish(subject);
    else client.subscribe(subject, { callback: () => undefined });
  }
  // The broker answers in order: its refusals are here when a round trip is over, and were heard when another is.
  await client.flush();
  await client.flush();
  await client.close();
  return refused;
}

/** For everybody. */
const forAll = [
  ...publish(
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.CREATE.SPY",
    "$JS.API.STREAM.UPDATE.SPY",
    "$JS.API.STREAM.DELETE.EVENTS",
    "$JS.API.STREAM.SNAPSHOT.EVENTS",
    "$JS.API.STREAM.RESTORE.EVENTS",
    "$JS.API.CONSUMER.LIST.EVENTS",
    "$JS.API.CONSUMER.NAMES.JOBS_HIGH",
    "$JS.API.CONSUMER.DURABLE.CREATE.JOBS_HIGH.w_default",
    "$JS.API.CONSUMER.CREATE.EVENTS",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.ACCOUNT.PING.CONNZ",
    "events.submitted.high.default.send_email.1",
    "events.scheduled.high.default.send_email.1",
    "cmd.all",
    "anything.else",
  ),
  ...subscribe(">", "*", "_INBOX.>", "_INBOX.*.>", "$SYS.>", "$JS.>", "$KV.>", "$O.>", "jobs.>", "events.>"),
  ...subscribe("$JS.EVENT.>", "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.EVENTS.*"),
];

/** What one user may, or two, and nobody else: `admin` makes streams, the projector looks after the logs. */
const forFew: readonly { readonly may: readonly BrokerUser[]; readonly attempts: readonly Attempt[] }[] = [
  { may: ["admin"], attempts: publish("$JS.API.INFO", "$JS.API.STREAM.DELETE.JOBS_HIGH") },
  // It moves jobs out of a former version's streams.
  { may: ["admin"], attempts: publish("$JS.API.STREAM.CREATE.UPGRADE_JOBS_HIGH", "upgrade.jobs.high.default.t.1") },
  {
    may: ["admin", "projector"],
    attempts: [...jobLogs].flatMap((log) => publish(`$JS.API.CONSUMER.DELETE.${log}.w_default`)),
  },
  {
    may: ["projector"],
    attempts: [
      ...[...jobLogs].flatMap((log) =>
        publish(
          `$JS.API.STREAM.PURGE.${log}`,
          `$JS.API.STREAM.MSG.DELETE.${log}`,
          `$JS.API.CONSUMER.CREATE.${log}.spy`,
        ),
      ),
      ...publish("events.submitted.JOBS_HIGH"),
      ...subscribe("ask.rows", "ask.repair"),
    ],
  },
  { may: ["projector", "control"], attempts: publish("cmd.worker.w1") },
  { may: ["admin", "projector", "control"], attempts: publish("$JS.API.STREAM.MSG.GET.SCHEDULE") },
  {
    may: ["admin", "projector", "control", "worker"],
    attempts: publish("$JS.API.STREAM.MSG.GET.JOBS_HIGH", "$JS.API.CONSUMER.LIST.JOBS_HIGH"),
  },
  {
    may: ["worker"],
    attempts: subscribe("jobs.*.default.>", "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.JOBS_HIGH.w_default"),
  },
  { may: ["control"], attempts: publish("$JS.API.DIRECT.GET.JOBS_HIGH", "$JS.API.DIRECT.GET.SCHEDULE") },
  { may: ["admin", "projector", "scheduler"], attempts: publish("$KV.millrace_leaders.work") },
  { may: ["worker"], attempts: publish("$KV.millrace_workers.w1") },
  { may: ["scheduler"], attempts: subscribe("schedule.>") },
  {
    may: ["worker"],
    attempts: publish("$JS.ACK.JOBS_HIGH.w_default.1.1.1.1.0", "$JS.ACK.hub.ACCOUNT.JOBS_HIGH.w_default.1.1.1.1.0.x"),
  },
  { may: ["admin", "projector", "control", "scheduler"], attempts: publish("jobs.high.default.t.1.ada") },
  { may: ["admin", "projector", "control"], attempts: publish("schedule.high.default.t.1.ada") },
  // The owner of a job that is tried again.
  {
    may: ["admin", "projector", "control", "worker"],
    attempts: publish("schedule.high.default.t.-.ada"),
  },
];

const refusals: Readonly<Record<BrokerUser, readonly Attempt[]>> = {
  admin: [
    ...publish("rpc.millrace.jobs.v1.JobService.GetJob", "$KV.millrace_plugins.x"),
    ...publish("$JS.API.STREAM.MSG.GET.EVENTS", "$JS.API.CONSUMER.CREATE.EVENTS.spy", "_INBOX.gateway.x"),
    ...subscribe("rpc.>", "invoke.plugin"),
  ],
  gateway: [
    ...publish("jobs.high.default.t.1", "schedule.high.default.t.1", "events.batch.x", "events.app.x"),
    ...publish("invoke.plugin", "cmd.cancel", "$KV.millrace_settings.x", "$JS.API.STREAM.INFO.EVENTS"),
    ...publish("_INBOX.control.x", "_INBOX.worker.results.x"),
    ...publish("rpc.millrace.jobs.v1.JobService.SubmitJob"),
    ...subscribe("rpc.>", "rpc.millrace.jobs.v1.JobService.GetJob", "cmd.all", "stats.plugin.*"),
  ],
  control: [
    ...publish("rpc.millrace.identity.v1.AuthService.Login", "$KV.millrace_plugin_state.x"),
    ...publish("$KV.millrace_crashes.x", "$JS.API.CONSUMER.MSG.NEXT.JOBS_HIGH.w_default", "_INBOX.worker.x"),
    ...publish("$JS.API.STREAM.PURGE.EVENTS", "_INBOX.publisher.x", "$JS.API.CONSUMER.CREATE.JOBS_HIGH.x.jobs.high.>"),
    ...subscribe("rpc.>", "rpc.millrace.identity.v1.AuthService.Login", "invoke.plugin", "cmd.all"),
  ],
  worker: [
    ...publish("rpc.millrace.jobs.v1.JobService.CancelJob", "cmd.cancel", "invoke.plugin", "_INBOX.gateway.x"),
    ...publish("rpc.gateway.millrace.jobs.v1.JobService.CancelJob"),
    ...publish("_INBOX.control.x", "_INBOX.identity.answers.x", "$KV.millrace_plugins.x", "$KV.millrace_plugin_keys.x"),
    ...publish(
      "$KV.millrace_queues.x",
      "$KV.millrace_settings.x",
      "$O.millrace_modules.C.x",
      "$O.millrace_modules.M.x",
    ),
    ...publish("$JS.API.CONSUMER.CREATE.EVENTS.spy", "$JS.API.CONSUMER.CREATE.SCHEDULE.spy.schedule.>"),
    ...publish("$JS.API.CONSUMER.CREATE.JOBS_HIGH.spy.jobs.high.>", "$JS.API.STREAM.MSG.DELETE.KV_millrace_plugins"),
    ...publish("$JS.API.DIRECT.GET.KV_millrace_unique.$KV.millrace_unique.x"),
    ...publish("$JS.API.DIRECT.GET.KV_millrace_recordings.$KV.millrace_recordings.x"),
    ...subscribe("rpc.>", "logs.plugin.*", "cmd.>", "$KV.millrace_unique.>"),
  ],
  projector: [
    ...publish("rpc.x", "events.app.user.login", "$JS.API.STREAM.MSG.DELETE.EVENTS"),
    ...publish("$KV.millrace_plugins.x", "$KV.millrace_workers.w1", "_INBOX.gateway.x"),
    ...publish("$KV.millrace_settings.x", "$KV.millrace_processes.gateway.x"),
    ...subscribe("rpc.>", "cmd.all", "invoke.plugin"),
  ],
  scheduler: [
    ...publish("schedule.high.default.t.1", "rpc.x", "events.app.user.login", "$KV.millrace_plugins.x"),
    ...publish("$JS.API.CONSUMER.CREATE.SCHEDULE.spy.schedule.>", "$JS.API.CONSUMER.MSG.NEXT.JOBS_HIGH.w_default"),
    ...publish("$JS.API.STREAM.PURGE.EVENTS", "$KV.millrace_settings.x"),
    ...publish("$KV.millrace_processes.worker.x"),
    ...subscribe("rpc.>", "cmd.all", "invoke.plugin"),
  ],
  identity: [
    ...publish("jobs.high.default.t.1", "rpc.millrace.jobs.v1.JobService.GetJob", "$KV.millrace_settings.x"),
    ...publish("$JS.API.STREAM.INFO.EVENTS", "_INBOX.control.x", "events.batch.x", "events.app.x"),
    ...subscribe("rpc.>", "rpc.millrace.jobs.v1.JobService.GetJob", "cmd.all"),
  ],
  publisher: [
    ...publish("schedule.high.default.t.1", "events.batch.x", "events.app.x", "$JS.API.STREAM.INFO.JOBS_HIGH"),
    ...publish("rpc.millrace.jobs.v1.JobService.CancelJob", "rpc.millrace.identity.v1.AuthService.Login"),
    ...publish("rpc.millrace.plugins.v1.PluginService.UploadPlugin", "_INBOX.gateway.x", "cmd.cancel"),
    // There it could tell plugins of what never was.
    ...publish("jobs.high.plugin-events.audit", "jobs.low.plugin-tasks.audit.1"),
    // There it could name a caller, and an owner.
    ...publish("rpc.gateway.millrace.jobs.v1.JobService.SubmitJob"),
    ...subscribe("rpc.>", "cmd.all", "invoke.plugin"),
  ],
};

describe.each(brokerUsers)("the user %s", (user) => {
  it("is refused what it must not do", async () => {
    const inboxes = brokerUsers.filter((other) => other !== user).map((other) => `_INBOX.${other}.>`);
    const few = forFew.filter(({ may }) => !may.includes(user)).flatMap(({ attempts }) => attempts);
    const attempts = [...forAll, ...few, ...subscribe(...inboxes), ...refusals[user]];
    expect((await refusedOf(user, attempts)).toSorted()).toEqual(attempts.map(text).toSorted());
  });

  it("is allowed what few are", async () => {
    const few = forFew.filter(({ may }) => may.includes(user)).flatMap(({ attempts }) => attempts);
    expect(
      await refusedOf(
        user,
        few.filter(({ subject }) => !endsIt(subject)),
      ),
    ).toEqual([]);
  });

  it("is allowed what it is there for", async () => {
    const allowed = permissionsOf(user);
    // A wildcard stands for a token of some name, or several.
    const named = allowed.publish.map((subject) => subject.replaceAll("*", "name").replace(/>$/, "a.name"));
    const attempts = [...publish(...named.filter((subject) => !endsIt(subject))), ...subscribe(...allowed.subscribe)];
    expect(await refusedOf(user, attempts)).toEqual([]);
  });
});

/** Would change what the next test finds. */
function endsIt(subject: string): boolean {
  return /\.(CREATE|UPDATE|DELETE|PURGE)\./.test(subject);
}

it("lets nobody in without a key of a user", async () => {
  await expect(connect({ servers: server.url, maxReconnectAttempts: 0 })).rejects.toMatchObject({
    code: "AUTHORIZATION_VIOLATION",
  });
});

it("gives nobody all of JetStream, and no two users one inbox", () => {
  for (const user of brokerUsers) {
    const { publish: may, subscribe: hears } = permissionsOf(user);
    expect(may.filter((subject) => /^(>|\$JS\.>|\$JS\.API\.>|\$JS\.ACK\.>|_INBOX\.>|\$KV\.>)$/.test(subject))).toEqual(
      [],
    );
    expect(hears.filter((subject) => subject.startsWith("_INBOX"))).toEqual([`_INBOX.${user}.>`]);
    expect(new Set(may).size).toBe(may.length);
  }
});

it("holds users to the names of their installation", () => {
  const { publish: may, subscribe: hears } = permissionsOf("worker", { prefix: "acme", domain: "hub" });
  expect(may).toContain("acme.jobs.*.*.*");
  expect(may).toContain("$JS.ACK.*.*.ACME_JOBS_HIGH.*.>");
  expect(may).toContain("$JS.hub.API.CONSUMER.MSG.NEXT.ACME_JOBS_HIGH.*");
  expect(may).toContain("$JS.hub.API.$KV.acme_millrace_plugin_state.>");
  expect(hears).toContain("acme.cmd.all");
  const all = brokerUsers.flatMap((user) => Object.values(permissionsOf(user, { prefix: "acme" })).flat());
  expect(all.filter((subject) => !/^(acme\.|_INBOX\.|\$JS\.API\.INFO$|.*(ACME_|acme_))/.test(subject))).toEqual([]);
  expect(authorizationConfig([], { prefix: "acme" })).toContain("acme.jobs");
});

it("is what deploy/nats holds", async () => {
  const file = join(import.meta.dirname, "../../../deploy/nats/authorization.conf");
  expect(await readFile(file, "utf8"), "run node deploy/nats/generate.ts").toBe(authorizationConfig());
});
