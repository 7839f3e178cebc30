import { spawn } from "node:child_process";
import { once } from "node:events";
import { setPriority } from "node:os";
import { join } from "node:path";
import { residentBytes } from "../hostile/process-tree.ts";
import { Rest } from "../lib/rest.ts";
import { startStandaloneProcess } from "../lib/standalone.ts";
import type { AttackReport } from "./attack-ground.ts";
import type { AttackName } from "./attacks.ts";
import { HealthyClient } from "./healthy-client.ts";

/** Of whoever attacks: their own machine does it, and must not take this one's processors from the system. */
const attackerNice = 19;

type System = Awaited<ReturnType<typeof startStandaloneProcess>>;

export interface RunningAttack {
  end(): Promise<AttackReport>;
}

/** The whole system, with identity on, attacked by strangers and by one of its users while another calls it as always. */
export class Siege implements AsyncDisposable {
  readonly client: HealthyClient;
  readonly #system: System;
  readonly #attackersToken: string;
  #attacks = 0;

  private constructor(system: System, attackersToken: string) {
    this.#system = system;
    this.#attackersToken = attackersToken;
    this.client = new HealthyClient(system);
  }

  static async start(): Promise<Siege> {
    await using starting = new AsyncDisposableStack();
    const system = starting.use(await startStandaloneProcess({ MILLRACE_LOG_LEVEL: "error" }));
    const token = await tokenOfPublisher(system);
    starting.move();
    return new Siege(system, token);
  }

  /** From addresses that no attack came from before. Resolves when it is in place. */
  async attack(name: AttackName): Promise<RunningAttack> {
    const { httpUrl, grpcAddress } = this.#system;
    const ports = [new URL(httpUrl).port, new URL(`http://${grpcAddress}`).port];
    const script = join(import.meta.dirname, "attacker.ts");
    const args = [script, name, `127.1.${++this.#attacks}`, this.#attackersToken, ...ports];
    const attacker = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
    const { stdin, stdout } = attacker;
    stdin.on("error", () => {}); // it may have ended by itself
    let output = "";
    stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const finished = once(attacker, "close");
    if (attacker.pid !== undefined) setPriority(attacker.pid, attackerNice);
    await once(stdout, "data");
    return {
      async end() {
        stdin.end();
        await finished;
        return JSON.parse(output) as AttackReport;
      },
    };
  }

  /**
   * As long as it is measured, something counts where an attacker would be: on a machine of few processors whoever calls and
   * whoever attacks share them with the system, and that they do is no attack.
   */
  async measureAlone(durationMs: number): Promise<number> {
    const busy = spawn(process.execPath, ["--eval", "for (;;);"]);
    try {
      await once(busy, "spawn");
      if (busy.pid !== undefined) setPriority(busy.pid, attackerNice);
      return await this.client.measure(durationMs);
    } finally {
      busy.kill("SIGKILL");
    }
  }

  get running(): boolean {
    return !this.#system.process.ended;
  }

  /** With all its processes; undefined where the operating system does not tell. */
  residentBytes(): Promise<number | undefined> {
    return residentBytes(this.#system.process.child.pid ?? 0);
  }

  /** How many the gateway has refused, by reason. */
  async refusals(): Promise<ReadonlyMap<string, number>> {
    const { httpUrl, token } = this.#system;
    const answer = await fetch(`${httpUrl}/metrics`, { headers: { authorization: `Bearer ${token}` } });
    const text = await answer.text();
    const found = text.matchAll(/^millrace_refusals_total\{reason="(\w+)"\} (\d+)$/gm);
    return new Map([...found].map(([, reason = "", count]) => [reason, Number(count)]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await this.#system[Symbol.asyncDispose]();
  }
}

/** Limits are counted by identity: the one who attacks is not the one who calls. */
async function tokenOfPublisher({ rest, httpUrl }: System): Promise<string> {
  const user = { email: "insider@example.com", password: "correct horse battery" };
  await ok(rest, "/api/v1/users", { ...user, roles: ["ROLE_PUBLISHER"] });
  const { tokens } = await ok<{ tokens: { accessToken: string } }>(rest, "/api/v1/auth/login", user);
  const wish = { name: "siege", scopes: ["read", "jobs:submit"] };
  return (await ok<{ secret: string }>(new Rest(httpUrl, tokens.accessToken), "/api/v1/tokens", wish)).secret;
}

async function ok<T>(rest: Rest, path: string, request: object): Promise<T> {
  const { status, body } = await rest.call<T>("POST", path, request);
  if (status !== 200) throw new Error(`${path} answered ${status}: ${JSON.stringify(body)}`);
  return body;
}
