import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "nats";
import { silentLogger } from "./bus-logger.ts";
import { fetchNatsServer } from "./find-nats-server.ts";
import { JsonObject } from "./json.ts";
import { natsCache } from "./nats-cache.ts";
import { pause } from "./pause.ts";
import { TestNats } from "./test-nats.ts";

const size = 3;
/** From the start of the servers to the first stream with three copies. */
const formMs = 30_000;
const mostTries = 3;
/** An election takes 4 to 9 s; on a busy machine there may be two. */
const electionMs = 60_000;
/** A server that lost its disk copies what the others hold. */
const wholeMs = 120_000;
const answerMs = 2000;
const lookMs = 100;

/** Three servers on the loopback that keep streams together; gone when disposed. */
export class TestCluster implements AsyncDisposable {
  readonly nodes: readonly TestNats[];
  readonly #folder: string;

  private constructor(folder: string, nodes: readonly TestNats[]) {
    this.#folder = folder;
    this.nodes = nodes;
  }

  /** Servers of 2.10 that start together sometimes never learn of each other's place for streams: then others are started. */
  static async start(): Promise<TestCluster> {
    for (let tries = 1; ; tries++) {
      try {
        return await TestCluster.#form();
      } catch (error) {
        if (tries === mostTries) throw error;
      }
    }
  }

  static async #form(): Promise<TestCluster> {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "millrace-cluster-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    // What is installed may be too old for a cluster.
    const binary = givenBinary() ?? (await fetchNatsServer(natsCache, silentLogger));
    const routes = await freePorts(size);
    const nodes = await Promise.all(
      routes.map(async (port, index) => {
        const serverName = `node-${index + 1}`;
        const dataDir = join(folder, serverName);
        await mkdir(dataDir);
        const include = [join(dataDir, "cluster.conf")];
        await writeFile(include[0] ?? "", clusterText(port, routes));
        return stack.use(await TestNats.start({ dataDir, serverName, include, binary }));
      }),
    );
    const cluster = new TestCluster(folder, nodes);
    await cluster.#until(formMs, "place for three copies", () => cluster.#takesCopies());
    stack.move();
    return cluster;
  }

  /** Of all servers, for a client. */
  get url(): string {
    return this.nodes.map(({ url }) => url).join(",");
  }

  /** The server that leads a stream, or a consumer of it; waits while there is none. */
  async leaderOf(stream: string, consumer?: string): Promise<TestNats> {
    const group = consumer === undefined ? stream : `${stream}.${consumer}`;
    let found: TestNats | undefined;
    await this.#until(electionMs, `a leader of ${group}`, async () => {
      const info = await this.#ask(`${consumer === undefined ? "STREAM" : "CONSUMER"}.INFO.${group}`);
      const leader = info.object("cluster").string("leader");
      found = this.nodes.find(({ name }) => name === leader);
      return found !== undefined;
    });
    if (found === undefined) throw new Error(`nobody leads ${group}`);
    return found;
  }

  /** Resolves when another server than `former` leads the stream. */
  async led(stream: string, former: TestNats): Promise<TestNats> {
    let leader = former;
    await this.#until(electionMs, `other leader of ${stream}`, async () => {
      leader = await this.leaderOf(stream);
      return leader !== former;
    });
    return leader;
  }

  /** The leader gives the stream, or a consumer of it, over to another; waits for one that can. */
  stepDown(stream: string, consumer?: string): Promise<void> {
    const group = consumer === undefined ? stream : `${stream}.${consumer}`;
    return this.#until(electionMs, `leader of ${group} that steps down`, async () => {
      await this.#ask(`${consumer === undefined ? "STREAM" : "CONSUMER"}.LEADER.STEPDOWN.${group}`);
      return true;
    });
  }

  /** Resolves when each server has all of the streams. */
  async whole(streams: readonly string[]): Promise<void> {
    for (const stream of streams) {
      await this.#until(wholeMs, `three copies of ${stream}`, async () => {
        const copies = (await this.#ask(`STREAM.INFO.${stream}`)).object("cluster").list("replicas");
        return copies.filter((copy) => new JsonObject(copy).boolean("current")).length === size - 1;
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.nodes) node.thaw();
    await Promise.all(this.nodes.map((node) => node[Symbol.asyncDispose]()));
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** A leader may be there before all servers are known to it. */
  async #takesCopies(): Promise<boolean> {
    const trial = { name: "TRIAL", subjects: ["trial"], storage: "memory", num_replicas: size };
    await this.#ask(`STREAM.CREATE.${trial.name}`, trial);
    await this.#ask(`STREAM.DELETE.${trial.name}`);
    return true;
  }

  /** By a connection of its own, to whichever server answers: the last one may hang, or be gone. */
  async #ask(subject: string, body: object = {}): Promise<JsonObject> {
    const nc = await connect({ servers: this.nodes.map(({ url }) => url), timeout: answerMs, reconnect: false });
    try {
      const reply = JsonObject.parse(
        (await nc.request(`$JS.API.${subject}`, JSON.stringify(body), { timeout: answerMs })).data,
      );
      if (reply.has("error")) throw new Error(`${subject}: ${reply.object("error").string("description")}`);
      return reply;
    } finally {
      await nc.close();
    }
  }

  /** There is nothing to wait for: the cluster says what it is only when asked. */
  async #until(withinMs: number, what: string, holds: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + withinMs;
    let cause: unknown;
    while (Date.now() < deadline) {
      try {
        if (await holds()) return;
      } catch (error) {
        cause = error;
      }
      await pause(lookMs);
    }
    throw new Error(`no ${what} within ${withinMs} ms`, { cause });
  }
}

export function startTestCluster(): Promise<TestCluster> {
  return TestCluster.start();
}

/** False when MILLRACE_TEST_NATS_BIN is older than 2.10.20, which Millrace refuses in a cluster. */
export function canCluster(): boolean {
  const binary = givenBinary();
  if (binary === undefined) return true;
  const version = /v(\d+)\.(\d+)\.(\d+)/.exec(spawnSync(binary, ["--version"], { encoding: "utf8" }).stdout);
  const [major = 0, minor = 0, patch = 0] = (version ?? []).slice(1).map(Number);
  return major * 1e6 + minor * 1e3 + patch >= 2_010_020;
}

function givenBinary(): string | undefined {
  const binary = process.env["MILLRACE_TEST_NATS_BIN"] ?? "";
  return binary === "" ? undefined : binary;
}

function clusterText(port: number, routes: readonly number[]): string {
  const urls = routes.map((route) => `nats://127.0.0.1:${route}`).join(", ");
  return `cluster { name: test, host: "127.0.0.1", port: ${port}, routes: [${urls}] }\n`;
}

/** Held together until all are known, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  try {
    await Promise.all(servers.map((server) => new Promise<void>((done) => server.listen(0, "127.0.0.1", done))));
    return servers.map((server) => (server.address() as AddressInfo).port);
  } finally {
    await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  }
}
