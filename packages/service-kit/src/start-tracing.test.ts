import { InMemorySpanExporter } from "@opentelemetry/sdk-trace";
import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { createLogger } from "./create-logger.ts";
import { startTracing } from "./start-tracing.ts";
import { currentTraceparent, linkFromTraceparent, startSpan, tracingEnabled, withSpan } from "./trace-context.ts";

const parent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;

describe("startTracing", () => {
  it("is inert without a collector", async () => {
    await using _ = startTracing({ service: "test" });
    expect(tracingEnabled()).toBe(false);
    expect(await withSpan("off", { traceparent: parent }, async () => currentTraceparent())).toBeUndefined();
    expect(startSpan("off").isRecording()).toBe(false);
  });

  it("follows one trace over a header, into the log, and nests", async () => {
    const exporter = new InMemorySpanExporter();
    const lines: Record<string, unknown>[] = [];
    const destination = new Writable({
      write(chunk: Buffer, _, done) {
        lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
        done();
      },
    });
    const logger = createLogger({ name: "test", destination });
    let spans: ReturnType<InMemorySpanExporter["getFinishedSpans"]> = [];
    exporter.shutdown = async () => void (spans = [...exporter.getFinishedSpans()]);
    {
      await using _ = startTracing({ service: "test", exporter });
      await withSpan("outer", { traceparent: parent }, async () => {
        await Promise.resolve();
        logger.info("inside");
        const header = currentTraceparent();
        await withSpan("inner", { traceparent: header, attributes: { queue: "q" } }, async () => {});
        startSpan("child").end();
      });
      startSpan("bad header", { traceparent: "zz" }).end();
      await expect(withSpan("fails", {}, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
      expect(linkFromTraceparent(parent)?.context.spanId).toBe("b".repeat(16));
      expect(linkFromTraceparent("")).toBeUndefined();
    }
    expect(tracingEnabled()).toBe(false);
    const [inner, child, outer, bad, fails] = spans;
    expect([inner, child, outer, bad, fails].map((span) => span?.name)).toEqual([
      "inner",
      "child",
      "outer",
      "bad header",
      "fails",
    ]);
    expect(outer?.spanContext().traceId).toBe("a".repeat(32));
    expect(outer?.parentSpanContext?.spanId).toBe("b".repeat(16));
    expect(inner?.parentSpanContext?.spanId).toBe(outer?.spanContext().spanId);
    expect(child?.parentSpanContext?.spanId).toBe(outer?.spanContext().spanId);
    expect(bad?.spanContext().traceId).not.toBe("a".repeat(32));
    expect(fails?.status.message).toBe("no");
    expect(lines).toMatchObject([
      { level: "info", name: "test", msg: "inside", trace_id: "a".repeat(32), span_id: outer?.spanContext().spanId },
    ]);
  });
});

describe("createLogger", () => {
  it("masks what must not be logged", () => {
    let text = "";
    const destination = { write: (line: string) => void (text += line) };
    createLogger({ name: "test", destination }).info({ token: "t0p", user: { password: "pw1" } }, "login");
    expect(text).not.toMatch(/t0p|pw1/);
    expect(JSON.parse(text)).toMatchObject({ token: "***", msg: "login" });
  });
});
