/** One process, many over NATS, many over gRPC: the same scenario on each. */
import { startTestNats } from "@millrace/bus/testing";
import { describe, expect, it } from "vitest";
import { deployExamplePlugins } from "./lib/deploy-plugins.ts";
import { startPostgres } from "./lib/postgres.ts";
import { firstToken } from "./lib/first-token.ts";
import { freePort, ServiceProcess } from "./lib/process.ts";
import { Rest } from "./lib/rest.ts";
import { runScenario } from "./lib/scenario.ts";
import { startStandaloneProcess } from "./lib/standalone.ts";

describe("the scenario", { timeout: 180_000 }, () => {
  it("runs on one process, which then stops cleanly", async () => {
    await using system = await startStandaloneProcess();
    await runScenario(system);
    expect(await system.process.stop()).toBe(0);
  });

  it.each([
    ["nats", "on"],
    ["grpc", "off"],
  ] as const)(
    "runs on many processes, with %s between gateway and control and identity %s",
    async (transport, identity) => {
      const postgres = await startPostgres();
      if (postgres === undefined) {
        console.warn("no PostgreSQL found: many processes need one");
        return;
      }
      await using stack = new AsyncDisposableStack();
      stack.use(postgres);
      const nats = stack.use(await startTestNats());
      const [http, grpc, controlGrpc] = [await freePort(), await freePort(), await freePort()];
      const ops: Record<string, number> = {};
      for (const name of ["projector", "scheduler", "control", "identity", "worker-1", "worker-2"])
        ops[name] = await freePort();
      const start = async (name: string, service: string, extra: Record<string, string> = {}) => {
        const process = stack.use(
          ServiceProcess.service(service, {
            NATS_URL: nats.url,
            DATABASE_URL: postgres.url,
            MILLRACE_OPS_PORT: String(ops[name] ?? 0),
            MILLRACE_QUEUES: "default",
            ...extra,
          }),
        );
        await process.ready(`http://127.0.0.1:${ops[name] ?? http}/health/ready`);
        return process;
      };
      await start("projector", "projector");
      await start("scheduler", "scheduler");
      await start("control", "control", transport === "grpc" ? { MILLRACE_GRPC_PORT: String(controlGrpc) } : {});
      await start("worker-1", "worker");
      await start("worker-2", "worker");
      const users = identity === "on" ? await start("identity", "identity") : undefined;
      const gateway = await start("gateway", "gateway", {
        MILLRACE_IDENTITY: identity,
        MILLRACE_HTTP_PORT: String(http),
        MILLRACE_GRPC_PORT: String(grpc),
        ...(transport === "grpc" ? { MILLRACE_CONTROL_URL: `http://127.0.0.1:${controlGrpc}` } : {}),
      });
      const httpUrl = `http://127.0.0.1:${http}`;
      const token = users === undefined ? "" : await firstToken(httpUrl, users.output);
      const rest = new Rest(httpUrl, token);
      await deployExamplePlugins(rest);
      await runScenario({ rest, grpcAddress: `127.0.0.1:${grpc}`, natsUrl: nats.url, token });
      const stranger = await new Rest(httpUrl, "").call("GET", "/api/v1/jobs");
      expect(stranger.status).toBe(identity === "on" ? 401 : 200);
      expect(await gateway.stop()).toBe(0);
    },
  );
});
