import { startTestNats, type TestNats } from "@millrace/bus/testing";
import { startStandaloneProcess, type SystemUnderTest } from "./standalone.ts";

export type FaultSystem = SystemUnderTest & { readonly nats: TestNats };

/**
 * The whole system without plugins, on a broker that the test may kill. Its own worker serves another queue than the tests', so
 * that theirs can be killed too.
 * @param databaseUrl PGlite when left out
 */
export async function startFaultSystem(databaseUrl?: string): Promise<FaultSystem> {
  await using starting = new AsyncDisposableStack();
  const nats = starting.use(await startTestNats());
  const standalone = starting.use(
    await startStandaloneProcess({
      NATS_URL: nats.url,
      MILLRACE_QUEUES: "elsewhere",
      MILLRACE_PLUGINS_DIR: "",
      ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl }),
    }),
  );
  const running = starting.move();
  const { httpUrl, grpcAddress, natsUrl, token, rest } = standalone;
  return {
    nats,
    httpUrl,
    grpcAddress,
    natsUrl,
    token,
    rest,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
