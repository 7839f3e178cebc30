import { tmpdir } from "node:os";
import { join } from "node:path";
import { debianNats } from "./nats-releases.ts";

/** Shared by all tests of a machine: where a broker must be fetched, it is fetched once. */
export const natsCache = join(tmpdir(), `millrace-nats-server-${debianNats[0].version}`);
