import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { startControl } from "@millrace/control";
import { createDirectTransport, createPipeline, type RpcTransport } from "@millrace/rpc";
import { createLogger, createMetrics, Health } from "@millrace/service-kit";
import { openStore } from "@millrace/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { deployPlugins } from "./deploy-plugins.ts";
import { watchPlugins } from "./watch-plugins.ts";

const logger = createLogger({ name: "test", level: "silent" });
const stack = new AsyncDisposableStack();
let bus: Bus;
let transport: RpcTransport;
let dir = "";
beforeAll(async () => {
  const nats = stack.use(await startTestNats());
  bus = stack.use(await connectBus({ servers: nats.url, name: "test" }));
  await bus.ensureTopology();
  const store = stack.use(await openStore({ dataDir: "memory://" }));
  await store.migrate();
  const deps = { bus, store, logger, metrics: createMetrics(), health: new Health() };
  transport = createDirectTransport(createPipeline({ services: stack.use(await startControl({}, deps)).services }));
  dir = await mkdtemp(join(tmpdir(), "millrace-plugins-"));
  stack.defer(() => rm(dir, { recursive: true, force: true }));
}, 60_000);
afterAll(() => stack.disposeAsync());

/** (module (func (export "run") (result i32) i32.const <code>)) */
function module(code: number): Uint8Array {
  const hex = ["0061736d01000000", "0105016000017f", "03020100", "07070103", "72756e0000", "0a06010400"];
  return Buffer.from([...hex, "41", code.toString(16).padStart(2, "0"), "0b"].join(""), "hex");
}

const manifest = (version: string, type = "t"): string => `
name: edited
version: "${version}"
capabilities:
  kvBytes: 1000
handlers:
  - type: ${type}
    export: run
`;

test("what is edited is deployed again, and what is refused is told", { timeout: 60_000 }, async () => {
  const lines: string[] = [];
  let heard = Promise.withResolvers<void>();
  const say = (line: string): void => {
    lines.push(line);
    heard.resolve();
    heard = Promise.withResolvers();
  };
  const nextLine = async (edit: () => Promise<void>): Promise<string | undefined> => {
    const next = heard.promise;
    await edit();
    await next;
    return lines.at(-1);
  };
  await using watching = await watchPlugins(dir, { bus, transport, logger, say });
  void watching;
  const folder = join(dir, "edited");
  const first = await nextLine(async () => {
    await mkdir(folder);
    await writeFile(join(folder, "edited.wasm"), module(0));
    await writeFile(join(folder, "plugin.yaml"), manifest("1.0.0"));
  });
  expect(first).toBe("Plugin edited 1.0.0 serves (granted: kv)");
  const sameNumber = await nextLine(() => writeFile(join(folder, "edited.wasm"), module(1)));
  expect(sameNumber).toContain("Plugin edited not deployed: ");
  expect(sameNumber).toContain("1.0.0-dev");
  const raised = await nextLine(() => writeFile(join(folder, "plugin.yaml"), manifest("1.1.0-dev")));
  expect(raised).toBe("Plugin edited 1.1.0-dev serves (granted: kv)");
  const again = await nextLine(() => writeFile(join(folder, "edited.wasm"), module(2)));
  expect(again).toBe(raised);
  const broken = await nextLine(() => writeFile(join(folder, "plugin.yaml"), "name: 7"));
  expect(broken).toContain("plugin.yaml: ");
  const mended = await nextLine(() => writeFile(join(folder, "plugin.yaml"), manifest("1.1.0-dev", "other")));
  expect(mended).toBe(raised);
  expect(await deployPlugins(dir, { bus, transport, logger })).toEqual(["edited"]);
  expect(lines).toHaveLength(6);
});
