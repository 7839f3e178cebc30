import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { firstToken } from "../../lib/first-token.ts";
import { Rest } from "../../lib/rest.ts";
import { SilentProxy } from "../../lib/silent-proxy.ts";
import { BrokerNode } from "./broker-node.ts";
import { DatabaseNode } from "./database-node.ts";
import { defaultBroker } from "./default-broker.ts";
import { queueNames } from "./job-plan.ts";
import { lastingPort } from "./lasting-port.ts";
import { SmallDisk } from "./small-disk.ts";
import { SupervisedService } from "./supervised-service.ts";

const clusterSize = 3;
/** Holds what a run of many minutes leaves in the logs, and is filled in a moment. */
const diskBytes = 512 << 20;

/** Who runs, in the order of their start. Two of whatever may be two. */
const instances = [
  ["projector-1", "projector"],
  ["projector-2", "projector"],
  ["scheduler-1", "scheduler"],
  ["scheduler-2", "scheduler"],
  ["control-1", "control"],
  ["worker-1", "worker"],
  ["worker-2", "worker"],
  ["identity-1", "identity"],
  ["gateway-1", "gateway"],
] as const;

export interface SystemOptions {
  /** A nats-server; the one that tests take when left out. */
  readonly broker: string | undefined;
  /** Three brokers instead of one. */
  readonly cluster: boolean;
  /** Whether the broker's files lie on a disk that can be filled, where one can be made. */
  readonly smallDisk: boolean;
  /** One of each service, for a short run. */
  readonly single: boolean;
  readonly ackWaitMs: number;
  /** For logs and the handlers' file. */
  readonly folder: string;
  readonly onIncident: (text: string) => void;
}

export interface CheckedUser {
  readonly name: string;
  readonly id: string;
  readonly rest: Rest;
}

/** The whole system as separate processes, each behind proxies of its own, with everything in reach that may be broken. */
export interface CheckedSystem extends AsyncDisposable {
  readonly brokers: readonly BrokerNode[];
  readonly database: DatabaseNode;
  readonly services: readonly SupervisedService[];
  /** Between each service, and the clients, and the brokers; by the name of the one that connects. */
  readonly proxies: ReadonlyMap<string, readonly SilentProxy[]>;
  readonly disk: SmallDisk | undefined;
  /** For clients, through proxies. */
  readonly clientServers: readonly string[];
  /** For the checker itself, past them. */
  readonly directServers: readonly string[];
  readonly admin: Rest;
  readonly users: readonly CheckedUser[];
  readonly executionsFile: string;
}

/** @returns undefined where no PostgreSQL is installed: separate processes need one */
export async function startCheckedSystem(options: SystemOptions): Promise<CheckedSystem | undefined> {
  const { folder, cluster, single, ackWaitMs, onIncident } = options;
  await mkdir(folder, { recursive: true });
  await using stack = new AsyncDisposableStack();
  const database = await DatabaseNode.start();
  if (database === undefined) return undefined;
  stack.use(database);
  const disk = options.smallDisk && !cluster ? await SmallDisk.mount(diskBytes) : undefined;
  if (disk !== undefined) stack.use(disk);
  const brokers = await makeBrokers(options, disk);
  for (const broker of brokers) stack.use(broker);
  await Promise.all(brokers.map((broker) => broker.start()));

  const proxies = new Map<string, readonly SilentProxy[]>();
  const connectThroughProxies = async (name: string): Promise<readonly string[]> => {
    const own = await Promise.all(brokers.map(async ({ port }) => stack.use(await SilentProxy.to(port))));
    proxies.set(name, own);
    return own.map(({ port }) => `nats://127.0.0.1:${port}`);
  };
  const executionsFile = join(folder, "executions.jsonl");
  const [httpPort, grpcPort] = [await lastingPort(), await lastingPort()];
  const httpUrl = `http://127.0.0.1:${httpPort}`;
  const services: SupervisedService[] = [];
  for (const [name, service] of instances) {
    if (single && name.endsWith("-2") && service !== "worker") continue;
    const opsPort = await lastingPort();
    const env: Record<string, string> = {
      NATS_URL: (await connectThroughProxies(name)).join(","),
      DATABASE_URL: database.url,
      MILLRACE_OPS_PORT: String(opsPort),
      ...(cluster ? { MILLRACE_NATS_REPLICAS: String(clusterSize) } : {}),
      ...(service === "worker"
        ? {
            MILLRACE_QUEUES: queueNames.join(","),
            MILLRACE_HANDLERS: join(import.meta.dirname, "handlers.ts"),
            MILLRACE_EXECUTORS: "0",
            MILLRACE_ACK_WAIT_MS: String(ackWaitMs),
            CHECKER_EXECUTIONS: executionsFile,
          }
        : {}),
      ...(service === "gateway"
        ? { MILLRACE_IDENTITY: "on", MILLRACE_HTTP_PORT: String(httpPort), MILLRACE_GRPC_PORT: String(grpcPort) }
        : {}),
    };
    const healthUrl = `${service === "gateway" ? httpUrl : `http://127.0.0.1:${opsPort}`}/health/ready`;
    const logFile = join(folder, `${name}.log`);
    services.push(stack.use(new SupervisedService({ name, service, env, healthUrl, logFile, onEnded: onIncident })));
  }
  // The first one makes what all need.
  const [first, ...others] = services;
  first?.start();
  await first?.ready();
  for (const service of others) service.start();
  await Promise.all(others.map((service) => service.ready()));
  const identity = services.find(({ service }) => service === "identity");
  const admin = new Rest(httpUrl, await firstToken(httpUrl, identity?.output ?? ""));
  const users = [await makeUser(admin, "ada"), await makeUser(admin, "bob")];
  const clientServers = await connectThroughProxies("clients");
  const running = stack.move();
  return {
    brokers,
    database,
    services,
    proxies,
    disk,
    clientServers,
    directServers: brokers.map(({ url }) => url),
    admin,
    users,
    executionsFile,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function makeBrokers({ broker, cluster }: SystemOptions, disk: SmallDisk | undefined): Promise<BrokerNode[]> {
  const binary = broker ?? (await defaultBroker());
  if (!existsSync(binary)) throw new Error(`no nats-server at ${binary}`);
  const count = cluster ? clusterSize : 1;
  const ports = await Promise.all(Array.from({ length: count * 2 }, () => lastingPort()));
  const routes = ports.slice(count);
  return Promise.all(
    Array.from({ length: count }, (_, i) =>
      BrokerNode.make({
        binary,
        name: `n${i + 1}`,
        port: ports[i] ?? 0,
        ...(disk === undefined ? {} : { storeDir: join(disk.folder, "store") }),
        ...(cluster ? { cluster: { port: routes[i] ?? 0, routes } } : {}),
      }),
    ),
  );
}

async function makeUser(admin: Rest, name: string): Promise<CheckedUser> {
  const answer = async <T>(path: string, body: object, by: Rest): Promise<T> => {
    const { status, body: answered } = await by.call<T>("POST", path, body);
    if (status !== 200) throw new Error(`${path} answered ${status}: ${JSON.stringify(answered)}`);
    return answered;
  };
  const login = { email: `${name}@example.com`, password: "correct horse battery" };
  const { user } = await answer<{ user: { id: string } }>(
    "/api/v1/users",
    { ...login, roles: ["ROLE_PUBLISHER"] },
    admin,
  );
  const scopes = ["read", "jobs:submit", "jobs:cancel", "jobs:retry"];
  type LoggedIn = { tokens: { accessToken: string } };
  const session = new Rest(admin.base, (await answer<LoggedIn>("/api/v1/auth/login", login, admin)).tokens.accessToken);
  const made = await answer<{ secret: string }>("/api/v1/tokens", { name: "checker", scopes }, session);
  return { name, id: user.id, rest: new Rest(admin.base, made.secret) };
}
