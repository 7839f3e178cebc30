import { hostname } from "node:os";
import { create, toJsonString } from "@bufbuild/protobuf";
import { buckets, ProcessSettingsSchema, type ProcessSettings } from "@millrace/protocol";
import type { LiveConfig } from "./live-config.ts";
import { settingMessage } from "./setting-message.ts";
import { within } from "./within.ts";

/** What was said is forgotten after the bucket's time: twice may get lost. */
const everyMs = buckets.processes.ttlMs / 3;
const longestNode = 100;
/** A broker that does not answer keeps no process from stopping: what was said is forgotten by itself. */
const withdrawMs = 1000;

/** Of bus's KvBucket what is needed here: service-kit does not know the broker. */
export interface ProcessesBucket {
  put(key: string, value: Uint8Array): Promise<unknown>;
  delete(key: string): Promise<void>;
}

export interface AnnouncementLogger {
  debug(fields: object, text: string): void;
}

/**
 * What only this process can tell, and what does not change while it runs: settings that are read at the start, and those
 * that command line, environment or file fix here.
 * @param process such as `gateway`
 */
export function processSettings(process: string, config: LiveConfig): ProcessSettings {
  const own = config.list().filter(({ changeable, source }) => !changeable || isFixed(source));
  const node = `${hostname()}-${globalThis.process.pid}`.replace(/[^-\w]/g, "_").slice(-longestNode);
  return create(ProcessSettingsSchema, { process, node, settings: own.map((view) => settingMessage(view)) });
}

/** Lets the listing of settings show those of a process until it is disposed. */
export function announceSettings(
  bucket: ProcessesBucket,
  settings: ProcessSettings,
  logger: AnnouncementLogger,
): AsyncDisposable {
  const key = `${settings.process}.${settings.node}`;
  const value = new TextEncoder().encode(toJsonString(ProcessSettingsSchema, settings));
  let telling: Promise<unknown> = Promise.resolve();
  const tell = (): void => {
    telling = telling
      .then(() => bucket.put(key, value))
      .catch((err: unknown) => logger.debug({ err }, "settings not told"));
  };
  tell();
  const timer = setInterval(tell, everyMs);
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await within(
        withdrawMs,
        telling.then(() => bucket.delete(key)).catch(() => undefined),
      );
    },
  };
}

function isFixed(source: string): boolean {
  return source === "argv" || source === "env" || source === "file";
}
