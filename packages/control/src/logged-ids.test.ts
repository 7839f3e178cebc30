import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import { decodeJson, SubmitJobRequestSchema } from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { toJobMessage, type JobMessage } from "./job-message.ts";
import { lastPlaces } from "./log-places.ts";
import { LoggedIds } from "./logged-ids.ts";

let nats: TestNats;
let bus: Bus;
beforeAll(async () => {
  nats = await startTestNats();
  bus = await connectBus({ servers: nats.url, name: "test" });
  await bus.ensureTopology();
});
afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

const runAt = timestampFromMs(Date.now() + 3_600_000);

function messageOf(request: MessageInitShape<typeof SubmitJobRequestSchema>, owner = ""): JobMessage {
  const submission = { traceparent: "", reply: "", owner };
  return toJobMessage(create(SubmitJobRequestSchema, { type: "t", ...request }), submission, Date.now());
}

async function store(...messages: JobMessage[]): Promise<void> {
  for (const { subject, data, headers } of messages) await bus.publishDurable(subject, data, headers);
}

/** What the broker is asked for, by log, from here on. */
async function hearQuestions(): Promise<Disposable & { readonly asked: (log: string) => string[] }> {
  const heard: [subject: string, wanted: string][] = [];
  const listening = bus.subscribe("$JS.API.DIRECT.GET.*", {}, ({ subject, data }) => {
    heard.push([subject, decodeJson<{ last_by_subj: string }>(data).last_by_subj ?? ""]);
  });
  await bus.flush();
  return {
    asked: (log) => heard.filter(([subject]) => subject.endsWith(`.${log}`)).map(([, wanted]) => wanted),
    [Symbol.dispose]: () => listening[Symbol.dispose](),
  };
}

const few = (): number => 0;
const many = (): number => 1_000_000;

test("of jobs that come together each other log is asked once, when it holds none of their type", async () => {
  using questions = await hearQuestions();
  const logged = new LoggedIds(bus, few);
  const jobs = Array.from({ length: 300 }, (_, index) => messageOf({ id: `n-${index}`, queue: "none" }));
  const known = await Promise.all(jobs.map((job) => logged.isLogged(job)));
  await bus.flush();
  expect(known).toEqual(jobs.map(() => false));
  expect(questions.asked("JOBS_NORMAL")).toEqual([]);
  for (const priority of ["critical", "high", "low"]) {
    expect(questions.asked(`JOBS_${priority.toUpperCase()}`)).toEqual([`jobs.${priority}.none.t.*`]);
  }
  expect(questions.asked("SCHEDULE")).toEqual(["schedule.*.none.t.*"]);
});

test("a log of very many subjects is asked for single ones only: wildcards would have the broker go through all", async () => {
  using questions = await hearQuestions();
  const logged = new LoggedIds(bus, many);
  const jobs = ["a", "b"].map((id) => messageOf({ id, queue: "vast", priority: 2 }, "ada"));
  expect(await Promise.all(jobs.map((job) => logged.isLogged(job)))).toEqual([false, false]);
  await bus.flush();
  expect(questions.asked("JOBS_LOW").toSorted()).toEqual(["jobs.low.vast.t.a.ada", "jobs.low.vast.t.b.ada"]);
  expect(questions.asked("SCHEDULE")).toHaveLength(8);
  expect(questions.asked("SCHEDULE").join(" ")).not.toContain("*");
});

describe.each([
  ["few", few],
  ["some", (): number => 100],
  ["very many", many],
])("in logs of %s subjects", (name, subjectsIn) => {
  const queue = `q-${name.replace(" ", "-")}`;

  test("a job is found whatever its priority and time, among many that are not there", async () => {
    const stored = [
      messageOf({ id: `high-${queue}`, queue, priority: 2 }),
      messageOf({ id: `delayed-${queue}`, queue, priority: 4, runAt }),
      messageOf({ id: `owned-${queue}`, queue, priority: 1 }, "ada"),
      messageOf({ id: `owned-delayed-${queue}`, queue, priority: 2, runAt }, "ada"),
    ];
    await store(...stored);
    const logged = new LoggedIds(bus, subjectsIn);
    const others = Array.from({ length: 50 }, (_, index) => messageOf({ id: `other-${index}`, queue }));
    const asked: [JobMessage, known: boolean][] = [
      ...others.map((job): [JobMessage, boolean] => [job, false]),
      [messageOf({ id: `high-${queue}`, queue }), true],
      [messageOf({ id: `high-${queue}`, queue, runAt }), true],
      [messageOf({ id: `delayed-${queue}`, queue }), true],
      [messageOf({ id: `delayed-${queue}`, queue, priority: 2, runAt }), true],
      [messageOf({ id: `owned-${queue}`, queue }, "ada"), true],
      [messageOf({ id: `owned-delayed-${queue}`, queue, priority: 1 }, "ada"), true],
      // Another's job, and another type's, is another subject.
      [messageOf({ id: `high-${queue}`, queue }, "ada"), false],
      [messageOf({ id: `owned-${queue}`, queue }, "eve"), false],
      [messageOf({ id: `high-${queue}`, queue, type: "u" }), false],
    ];
    const known = await Promise.all(asked.map(([job]) => logged.isLogged(job)));
    expect(known).toEqual(asked.map(([, expected]) => expected));
    // And alone.
    for (const [job, expected] of asked.slice(-9)) expect(await logged.isLogged(job)).toBe(expected);
  });
});

test("more at once than questions may be open are all answered", async () => {
  const logged = new LoggedIds(bus, many);
  const jobs = Array.from({ length: 2500 }, (_, index) => messageOf({ id: `m-${index}`, queue: "much" }));
  const known = await Promise.all(jobs.map((job) => logged.isLogged(job)));
  expect(known.includes(true)).toBe(false);
});

test("who asks hears of a log that cannot be asked, and the next is asked again", async () => {
  await using away = await connectBus({ servers: nats.url, name: "away" });
  const logged = new LoggedIds(away, few);
  await nats.kill9();
  const failed = await Promise.allSettled(
    ["a", "b", "c"].map((id) => logged.isLogged(messageOf({ id, queue: "down" }))),
  );
  expect(failed.map(({ status }) => status)).toEqual(Array(3).fill("rejected"));
  await nats.restart();
  await away.whenConnected();
  expect(await logged.isLogged(messageOf({ id: "a", queue: "down" }))).toBe(false);
}, 30_000);

test("a log that somebody deleted is not taken for a job that is not there", async () => {
  await bus.request("$JS.API.STREAM.DELETE.JOBS_LOW", new Uint8Array(0), { timeoutMs: 5000 });
  const missing = {
    code: "unavailable",
    message: "the stream JOBS_LOW is missing on the broker: restart a service, which makes it anew",
  };
  await expect(new LoggedIds(bus, () => 0).isLogged(messageOf({ id: "elsewhere" }))).rejects.toMatchObject(missing);
  await expect(lastPlaces(bus)).rejects.toMatchObject(missing);
  await bus.ensureTopology();
}, 30_000);
