import fc from "fast-check";
import { expect, it } from "vitest";
import { consumerElections, Namespace, streamElections } from "./namespace.ts";

function namespaceOf(prefix: string, domain = ""): Namespace {
  const namespace = Namespace.of({ prefix, domain });
  if (namespace === undefined) throw new Error("neither prefix nor domain");
  return namespace;
}

const acme = namespaceOf("acme");

it.each([
  ["jobs.high.emails.send", "acme.jobs.high.emails.send"],
  [">", "acme.>"],
  ["_INBOX.worker.x.1", "_INBOX.worker.x.1"],
  ["_R_.abc", "_R_.abc"],
  ["$KV.millrace_queues.emails", "$KV.acme_millrace_queues.emails"],
  ["$O.millrace_modules.C.x", "$O.acme_millrace_modules.C.x"],
  ["$JS.ACK.ACME_JOBS_HIGH.w_q.1.2.3.4.5", "$JS.ACK.ACME_JOBS_HIGH.w_q.1.2.3.4.5"],
  ["$JS.API.INFO", "$JS.API.INFO"],
  ["$JS.API.STREAM.INFO.EVENTS", "$JS.API.STREAM.INFO.ACME_EVENTS"],
  ["$JS.API.STREAM.MSG.GET.EVENTS", "$JS.API.STREAM.MSG.GET.ACME_EVENTS"],
  ["$JS.API.STREAM.PURGE.OBJ_millrace_modules", "$JS.API.STREAM.PURGE.OBJ_acme_millrace_modules"],
  ["$JS.API.CONSUMER.MSG.NEXT.JOBS_LOW.w_q", "$JS.API.CONSUMER.MSG.NEXT.ACME_JOBS_LOW.w_q"],
  ["$JS.API.CONSUMER.CREATE.EVENTS.r_1", "$JS.API.CONSUMER.CREATE.ACME_EVENTS.r_1"],
  ["$JS.API.CONSUMER.CREATE.JOBS_LOW.w_q.jobs.low.q.>", "$JS.API.CONSUMER.CREATE.ACME_JOBS_LOW.w_q.acme.jobs.low.q.>"],
  [
    "$JS.API.DIRECT.GET.KV_millrace_queues.$KV.millrace_queues.a.b",
    "$JS.API.DIRECT.GET.KV_acme_millrace_queues.$KV.acme_millrace_queues.a.b",
  ],
])("%s goes out as %s", (own, wire) => {
  expect(acme.published(own)).toBe(wire);
});

it("asks the domain, and writes to buckets through it", () => {
  const hub = namespaceOf("acme", "hub");
  expect(hub.published("$JS.API.STREAM.INFO.EVENTS")).toBe("$JS.hub.API.STREAM.INFO.ACME_EVENTS");
  expect(hub.published("$KV.millrace_queues.a")).toBe("$JS.hub.API.$KV.acme_millrace_queues.a");
  expect(hub.stored("$KV.millrace_queues.a")).toBe("$KV.acme_millrace_queues.a");
  expect(namespaceOf("", "hub").published("jobs.high.q.t")).toBe("jobs.high.q.t");
});

it("hears of leaders of its own streams, and of their consumers", () => {
  const wire = "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.ACME_JOBS_LOW.*";
  expect(acme.stored(consumerElections("JOBS_LOW"))).toBe(wire);
  expect(acme.stored(streamElections("EVENTS"))).toBe("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.ACME_EVENTS");
  expect(namespaceOf("", "hub").stored(consumerElections("JOBS_LOW"))).toBe(consumerElections("JOBS_LOW"));
});

it("takes acks in both forms for a user", () => {
  expect(acme.permission("$JS.ACK.JOBS_LOW.*.>")).toBe("$JS.ACK.ACME_JOBS_LOW.*.>");
  expect(acme.permission("$JS.ACK.*.*.JOBS_LOW.*.>")).toBe("$JS.ACK.*.*.ACME_JOBS_LOW.*.>");
});

it("gives back every name that it has given out", () => {
  const token = fc.stringMatching(/^[\w=-]{1,8}$/);
  const tail = fc.array(token, { minLength: 1, maxLength: 5 }).map((tokens) => tokens.join("."));
  const root = fc.constantFrom("", "_INBOX.", "$KV.", "$O.");
  fc.assert(
    fc.property(root, tail, (first, rest) => {
      expect(acme.ownSubject(acme.stored(first + rest))).toBe(first + rest);
    }),
  );
  const kind = fc.constantFrom("", "KV_", "OBJ_");
  fc.assert(
    fc.property(kind, token, (first, rest) => {
      expect(acme.ownStream(acme.stream(first + rest))).toBe(first + rest);
    }),
  );
});

it("translates requests and answers, and leaves the names of consumers and what people wrote", () => {
  const create = {
    name: "EVENTS",
    subjects: ["events.>"],
    retention: "limits",
    metadata: { subject: "mine" },
    sources: [{ name: "KV_a", filter_subject: "x" }],
  };
  const consumer = { stream_name: "EVENTS", config: { name: "r_1", durable_name: "r_1", filter_subject: "events.>" } };
  const onWire = acme.request({ config: create, consumer });
  expect(onWire).toEqual({
    config: {
      ...create,
      name: "ACME_EVENTS",
      subjects: ["acme.events.>"],
      sources: [{ name: "KV_acme_a", filter_subject: "acme.x" }],
    },
    consumer: { stream_name: "ACME_EVENTS", config: { ...consumer.config, filter_subject: "acme.events.>" } },
  });
  expect(acme.answer({ state: { subjects: { "$KV.acme_b.k": 2 } }, streams: ["ACME_EVENTS", "KV_acme_b"] })).toEqual({
    state: { subjects: { "$KV.b.k": 2 } },
    streams: ["EVENTS", "KV_b"],
  });
});

it("refuses what is no prefix, or would meet an installation without one", () => {
  for (const prefix of ["A", "a.b", "a_b", "-a", "a b", "jobs", "events", "x".repeat(40)]) {
    expect(() => Namespace.of({ prefix })).toThrow("not a prefix");
  }
  expect(() => Namespace.of({ domain: "a.b" })).toThrow("domain");
  expect(Namespace.of({})).toBeUndefined();
  expect(Namespace.of({ prefix: "", domain: "" })).toBeUndefined();
});
