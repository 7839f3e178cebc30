import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { residentBytes } from "../hostile/process-tree.ts";
import type { AttackReport } from "./attack-ground.ts";
import type { AttackName } from "./attacks.ts";
import { HealthyClient } from "./healthy-client.ts";

function start(script: string, ...args: string[]): ChildProcess {
  const path = join(import.meta.dirname, script);
  // Files and sockets share a limit, which is low by default.
  const command = 'ulimit -n 20000 2>/dev/null; exec "$0" "$@"';
  const child = spawn("sh", ["-c", command, process.execPath, path, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin?.on("error", () => {}); // it may have ended by itself
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.stdin?.end();
  await gone;
}

export interface RunningAttack {
  end(): Promise<AttackReport>;
}

/** A gateway that is attacked while a client calls it as always. */
export class Siege implements AsyncDisposable {
  readonly client: HealthyClient;
  readonly httpUrl: string;
  readonly #gateway: ChildProcess;
  #attacks = 0;
  readonly #ports: readonly [string, string];

  private constructor(gateway: ChildProcess, httpUrl: string, grpcAddress: string) {
    this.#gateway = gateway;
    this.httpUrl = httpUrl;
    this.#ports = [new URL(httpUrl).port, new URL(`http://${grpcAddress}`).port];
    this.client = new HealthyClient(httpUrl, grpcAddress);
  }

  static async start(): Promise<Siege> {
    const gateway = start("besieged-gateway.ts");
    if (gateway.stdout === null) throw new Error("no output");
    const [line] = (await once(createInterface(gateway.stdout), "line")) as [string];
    const { httpUrl, grpcAddress } = JSON.parse(line) as { httpUrl: string; grpcAddress: string };
    return new Siege(gateway, httpUrl, grpcAddress);
  }

  /** From addresses that no attack came from before. Resolves when it is in place. */
  async attack(name: AttackName): Promise<RunningAttack> {
    const attacker = start("attacker.ts", name, `127.1.${++this.#attacks}`, ...this.#ports);
    const { stdout } = attacker;
    if (stdout === null) throw new Error("no output");
    let output = "";
    stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const finished = once(attacker, "close");
    await once(stdout, "data");
    return {
      async end() {
        attacker.stdin?.end();
        await finished;
        return JSON.parse(output) as AttackReport;
      },
    };
  }

  get running(): boolean {
    return this.#gateway.exitCode === null && this.#gateway.signalCode === null;
  }

  /** Undefined where the system does not tell. */
  residentBytes(): Promise<number | undefined> {
    return residentBytes(this.#gateway.pid ?? 0);
  }

  /** How many the gateway has refused, by reason. */
  async refusals(): Promise<ReadonlyMap<string, number>> {
    const text = await (await fetch(`${this.httpUrl}/metrics`)).text();
    const found = text.matchAll(/^millrace_refusals_total\{reason="(\w+)"\} (\d+)$/gm);
    return new Map([...found].map(([, reason = "", count]) => [reason, Number(count)]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await end(this.#gateway);
  }
}
