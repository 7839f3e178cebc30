import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { latencyFigures } from "./child.ts";

const run = promisify(execFile);

/** A load on one URL. */
export interface Load {
  readonly url: string;
  readonly requests: number;
  readonly connections: number;
  readonly http: 1 | 2;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent by POST; GET without. */
  readonly body?: Uint8Array | string;
}

/** Is nghttp2's h2load here? It speaks both versions and costs far less than a generator on Node. */
export async function hasLoadGenerator(): Promise<boolean> {
  return run("h2load", ["--version"]).then(
    () => true,
    () => false,
  );
}

/** What a load measured; times in ms, as the caller saw them. */
export interface LoadFigures {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

/**
 * Loads a server with h2load, over `connections` connections with one request each in flight.
 * @throws Error when any request failed or was not answered 200
 */
export async function runLoad(load: Load): Promise<LoadFigures> {
  const dir = mkdtempSync(join(tmpdir(), "bench-load-"));
  try {
    const log = join(dir, "log");
    const args = ["-n", String(load.requests), "-c", String(load.connections), "-m", "1", "-t", "1"];
    args.push(`--log-file=${log}`);
    if (load.http === 1) args.push("--h1");
    for (const [name, value] of Object.entries(load.headers ?? {})) args.push("-H", `${name}: ${value}`);
    if (load.body !== undefined) {
      const file = join(dir, "body");
      writeFileSync(file, load.body);
      args.push("-d", file);
    }
    const { stdout } = await run("h2load", [...args, load.url], { maxBuffer: 1 << 22 });
    const rate = /finished in .*?, ([0-9.]+) req\/s/.exec(stdout)?.[1];
    const succeeded = /status codes: (\d+) 2xx/.exec(stdout)?.[1];
    if (rate === undefined || Number(succeeded) !== load.requests) throw new Error(`h2load says:\n${stdout}`);
    return { perSecond: Number(rate), ...readLatencies(log) };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Of h2load's log: a line per request with its start, its status, and how long it took, in µs. */
function readLatencies(log: string): { readonly p50: number; readonly p99: number } {
  const lines = readFileSync(log, "utf8").trimEnd().split("\n");
  const { p50, p99 } = latencyFigures(lines.map((line) => Number(line.split("\t")[2]) / 1000));
  return { p50: p50!, p99: p99! };
}

/** One gRPC message frame, uncompressed. */
export function grpcFrame(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(5 + message.length);
  new DataView(frame.buffer).setUint32(1, message.length);
  frame.set(message, 5);
  return frame;
}
