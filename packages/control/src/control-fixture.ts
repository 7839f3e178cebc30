import { createClient, type Client } from "@connectrpc/connect";
import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats, TestStack, type TestNats } from "@millrace/bus/testing";
import { startProjector, type Projector } from "@millrace/projector";
import { AuditService, JobService, PluginService, SettingsService, SystemService } from "@millrace/protocol";
import { createDirectTransport, createPipeline, type RpcTransport } from "@millrace/rpc";
import { createLogger, createMetrics, Health } from "@millrace/service-kit";
import { openStore, type Store } from "@millrace/store";
import type { ControlConfig } from "./config.ts";
import { lastPlaces } from "./log-places.ts";
import { startControl, type Control, type ControlDeps } from "./start-control.ts";

/** Control with what it stands on, for tests: a NATS server, PGlite and a projector; no worker. */
export interface ControlFixture extends AsyncDisposable {
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly store: Store;
  readonly projector: Projector;
  readonly control: Control;
  readonly jobs: Client<typeof JobService>;
  readonly plugins: Client<typeof PluginService>;
  readonly system: Client<typeof SystemService>;
  readonly audit: Client<typeof AuditService>;
  readonly settings: Client<typeof SettingsService>;
  /** To services that no door offers. */
  readonly transport: RpcTransport;
  /** Stops with the fixture, and before the rest of it. */
  use<T extends AsyncDisposable>(name: string, what: T): T;
}

// Says nothing at any level: a test may change it.
const logger = createLogger({ name: "control-test", level: "silent", destination: { write: () => undefined } });

/** @param live what may be changed while control runs; at its defaults when left out */
export async function startControlFixture(
  config: Partial<ControlConfig> = {},
  live: Pick<ControlDeps, "live"> = {},
): Promise<ControlFixture> {
  await using stack = new TestStack();
  const nats = stack.use("broker", await startTestNats());
  const bus = stack.use("bus", await connectBus({ servers: nats.url, name: "control-test" }));
  await bus.ensureTopology();
  const store = stack.use("store", await openStore({ dataDir: "memory://" }));
  await store.migrate();
  const projector = stack.use("projector", await startProjector({}, { bus, store, logger }));
  const control = stack.use(
    "control",
    await startControl(config, { bus, store, logger, metrics: createMetrics(), health: new Health(), ...live }),
  );
  const transport = createDirectTransport(createPipeline({ services: control.services }));
  const running = stack.move();
  return {
    nats,
    bus,
    store,
    projector,
    control,
    jobs: createClient(JobService, transport),
    plugins: createClient(PluginService, transport),
    system: createClient(SystemService, transport),
    audit: createClient(AuditService, transport),
    settings: createClient(SettingsService, transport),
    transport,
    use: (name, what) => running.use(name, what),
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

/** Everything that was accepted and said up to here is in the rows. */
export async function projected({ bus, projector }: ControlFixture): Promise<void> {
  await projector.whenProjected(new Map(Object.entries(await lastPlaces(bus))));
}

export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of source) all.push(one);
  return all;
}
