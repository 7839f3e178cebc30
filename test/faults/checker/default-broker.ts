import { readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { startTestNats } from "@millrace/bus/testing";

/** The nats-server that the other tests run on, fetched where it has to be. */
export async function defaultBroker(): Promise<string> {
  await using nats = await startTestNats();
  const pid = (await readFile(join(nats.dataDir, "nats.pid"), "utf8")).trim();
  return readlink(`/proc/${pid}/exe`);
}
