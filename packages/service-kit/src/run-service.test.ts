import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { once } from "node:events";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";

const module = JSON.stringify(path.join(import.meta.dirname, "run-service.ts"));

/** Runs a service in a process of its own and sends `signals` as soon as it says "up". */
async function serve(
  body: string,
  signals: readonly NodeJS.Signals[],
): Promise<{ code: number | null; output: string }> {
  const code = `import { runService } from ${module}; await runService(${body});`;
  const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", code], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines: string[] = [];
  const closed = once(child, "close");
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (line === "up") for (const signal of signals) child.kill(signal);
  }
  await closed;
  return { code: child.exitCode, output: lines.join("\n") };
}

const alive = "const timer = setInterval(() => {}, 1000); console.log('up');";

it("stops in order on a signal, even when it comes twice at once", async () => {
  const body = `async () => { ${alive} return { async [Symbol.asyncDispose]() { clearInterval(timer); console.log('disposed'); } }; }`;
  for (const signals of [["SIGTERM"], ["SIGINT", "SIGTERM"]] as const) {
    const { code, output } = await serve(body, signals);
    expect(output).toContain("disposed");
    expect(output).toContain('"msg":"stopped"');
    expect(code).toBe(0);
  }
});

it("ends a process that does not stop in time", async () => {
  const body = `async () => { ${alive} return { [Symbol.asyncDispose]: () => new Promise(() => {}) }; }, { stopTimeoutMs: 100 }`;
  const { code, output } = await serve(body, ["SIGTERM"]);
  expect(output).toContain("did not stop in time");
  expect(code).toBe(1);
});

it("ends a process in which a handle was forgotten", async () => {
  const { code } = await serve(`async () => { ${alive} return { async [Symbol.asyncDispose]() {} }; }`, ["SIGTERM"]);
  expect(code).toBe(0);
});

it("tells a start that fails, and lets a signal give up a start", async () => {
  const failed = await serve("async () => { throw new Error('no port'); }", []);
  expect(failed).toMatchObject({ code: 1, output: expect.stringContaining("no port") as string });
  const body = `(signal) => new Promise((_, reject) => { ${alive} signal.addEventListener('abort', () => reject(signal.reason)); })`;
  expect((await serve(body, ["SIGINT"])).code).toBe(0);
});

it("stops in order after an error that nobody caught, and fails", async () => {
  const body = `async () => { ${alive} setImmediate(() => { throw new Error('stray'); }); return { async [Symbol.asyncDispose]() { clearInterval(timer); console.log('disposed'); } }; }`;
  const { code, output } = await serve(body, []);
  expect(output).toContain("stray");
  expect(output).toContain("disposed");
  expect(code).toBe(1);
});
