import { Code, ConnectError } from "@connectrpc/connect";
import { AuditRuntimeService, JobService, type AuditEntry } from "@millrace/protocol";
import { anonymous, bindService, CallContext, createDirectTransport, createPipeline } from "@millrace/rpc";
import { createLogger, createMetrics } from "@millrace/service-kit";
import { expect, test } from "vitest";
import { AuditTrail } from "./audit-trail.ts";
import { accessTable } from "./check-access.ts";
import { createRefusals } from "./refusals.ts";

const method = JobService.method.cancelJob;

function callBy(subject: string): CallContext {
  const call = new CallContext({ method, protocolName: "rest", requestMethod: "POST", url: "/", headers: {} });
  call.identity = { ...anonymous, subject };
  return call;
}

test("one who floods the trail leaves the others their room in it", async () => {
  const taken: AuditEntry[] = [];
  const { promise: free, resolve: release } = Promise.withResolvers<void>();
  const { promise: all, resolve: whole } = Promise.withResolvers<void>();
  const append = async ({ entries }: { readonly entries: AuditEntry[] }) => {
    await free;
    taken.push(...entries);
    if (taken.length >= 1_001) whole();
    return {};
  };
  const access = accessTable([JobService]);
  await using trail = new AuditTrail(
    createDirectTransport(createPipeline({ services: [bindService(AuditRuntimeService, { append })] })),
    access,
    () => "192.0.2.1",
    createRefusals(createMetrics()),
    createLogger({ name: "gateway", level: "silent" }),
  );
  const [flood, other] = [callBy("flood"), callBy("other")];
  const nothing = new ConnectError("no such job", Code.NotFound);
  const ask = (call: CallContext) => trail.requireShare(call, access.get(method));
  for (let n = 0; n < 1_000; n += 1) {
    ask(flood);
    trail.record(flood, nothing);
  }
  expect(() => ask(flood)).toThrow(expect.objectContaining({ code: Code.ResourceExhausted }));
  ask(other);
  trail.record(other, undefined);
  release();
  await all;
  expect(taken.at(-1)).toMatchObject({ actor: { userId: "other" }, result: "ok" });
  await expect.poll(() => ask(flood)).toBeUndefined();
});

test("what was done is written down, however much waits", async () => {
  const taken: AuditEntry[] = [];
  const append = ({ entries }: { readonly entries: AuditEntry[] }) => {
    taken.push(...entries);
    return {};
  };
  {
    await using trail = new AuditTrail(
      createDirectTransport(createPipeline({ services: [bindService(AuditRuntimeService, { append })] })),
      accessTable([JobService]),
      () => "192.0.2.1",
      createRefusals(createMetrics()),
      createLogger({ name: "gateway", level: "silent" }),
    );
    const refused = new ConnectError("no such job", Code.NotFound);
    for (let n = 0; n < 5_100; n += 1) trail.record(callBy(`u${n}`), refused);
    trail.record(callBy("last"), undefined);
  }
  expect(taken.some(({ actor }) => actor?.userId === "last")).toBe(true);
});

test("a trail that nobody takes is given up 5 s after the stop began", { timeout: 30_000 }, async () => {
  const never = Promise.withResolvers<never>();
  const lost: string[] = [];
  const write = (line: string): void => {
    if (line.includes("audit entries are lost")) lost.push(line);
  };
  const trail = new AuditTrail(
    createDirectTransport(
      createPipeline({ services: [bindService(AuditRuntimeService, { append: () => never.promise })] }),
    ),
    accessTable([JobService]),
    () => "192.0.2.1",
    createRefusals(createMetrics()),
    createLogger({ name: "gateway", level: "error", destination: { write } }),
  );
  trail.record(callBy("one"), undefined);
  const startedAt = performance.now();
  await trail[Symbol.asyncDispose]();
  expect(performance.now() - startedAt).toBeLessThan(5_000 + 1_500);
  expect(lost).toHaveLength(1);
});
