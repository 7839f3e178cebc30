import { connect as connectSocket } from "node:net";
import { BusError } from "./bus-error.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import { JsonObject } from "./json.ts";

/** Older ones lose fences and messages in clusters (nats-server before 2.9.21, and 2.10.19). */
const oldestInCluster = [2, 10, 20] as const;
const infoTimeoutMs = 2000;
const longestInfo = 1 << 16;

/**
 * That every server of the cluster is new enough for streams in several copies. The server we are connected to does not speak for the
 * others: JetStream's API level does, which the leader of the cluster tells from 2.11 on; before that each server is asked that
 * this one knows of, as far as it can be reached.
 * @throws BusError failed_precondition
 */
export async function requireReplicas(api: JetStreamApi, replicas: number): Promise<void> {
  if (![1, 3, 5].includes(replicas))
    throw new BusError("invalid_argument", `${replicas} replicas: 1, 3 or 5 can be had`);
  const { info } = api.link.client;
  // Those of another domain may be in a cluster that this server is not in.
  if (info?.cluster === undefined && api.link.namespace?.domain === undefined) {
    throw new BusError("failed_precondition", `${replicas} replicas need a cluster: ${info?.server_name} is in none`);
  }
  const own = info?.version ?? "";
  const versions = new Map([[info?.server_name ?? "this server", own]]);
  const level = (await api.requestPatiently("INFO", undefined)).object("api").number("level");
  if (level === 0) {
    const others = await Promise.all((info?.connect_urls ?? []).map(versionAt));
    for (const [server, version] of others) if (version !== undefined) versions.set(server, version);
  }
  for (const [server, version] of versions) {
    if (isAtLeast(version, oldestInCluster)) continue;
    throw new BusError(
      "failed_precondition",
      `${replicas} replicas need nats-server ${oldestInCluster.join(".")} or newer on every server of the cluster: ${server} has ${version}`,
    );
  }
}

export function isAtLeast(version: string, least: readonly number[]): boolean {
  const parts = version.split(/[.-]/).map(Number);
  for (const [index, wanted] of least.entries()) {
    const part = parts[index] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}

/** A server says its version to whoever connects, before anything else; undefined when it cannot be reached. */
async function versionAt(address: string): Promise<[server: string, version: string | undefined]> {
  const { hostname, port } = new URL(`tcp://${address}`);
  const socket = connectSocket({ host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) || 4222 });
  const { promise, resolve } = Promise.withResolvers<string>();
  let text = "";
  socket.setTimeout(infoTimeoutMs, () => resolve(""));
  socket.on("error", () => resolve(""));
  socket.on("close", () => resolve(""));
  socket.on("data", (data) => {
    text += data.toString("latin1");
    if (text.includes("\r\n") || text.length > longestInfo) resolve(text.split("\r\n")[0] ?? "");
  });
  try {
    const line = await promise;
    if (!line.startsWith("INFO ")) return [address, undefined];
    return [address, new JsonObject(JSON.parse(line.slice(5))).string("version") || undefined];
  } catch {
    return [address, undefined];
  } finally {
    socket.destroy();
  }
}
