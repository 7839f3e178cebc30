import { createHash } from "node:crypto";
import type { Bus, PublishAck } from "@millrace/bus";
import {
  formatJobOptions,
  headerNames,
  isJobId,
  ownIdPrefix,
  sharedJobSubject,
  type PlatformEvent,
  type pluginQueues,
} from "@millrace/protocol";

export interface PluginJob {
  readonly id: string;
  readonly queue: (typeof pluginQueues)[keyof typeof pluginQueues];
  readonly plugin: string;
  readonly export: string;
  /** Which event, or which task, as a tag. */
  readonly cause: `event:${string}` | `task:${string}`;
  /** JSON. */
  readonly payload: string;
  readonly deadlineMs?: number;
  readonly replyTo?: string;
}

const longestTag = 64;
const longestId = 64;

/** Submits a job of a plugin. Its stream drops the same id within its duplicate window. */
export function submitPluginJob(bus: Bus, job: PluginJob): Promise<PublishAck> {
  const { id, queue, plugin, cause, payload, deadlineMs = 0, replyTo = "" } = job;
  const headers = formatJobOptions({
    tags: [`export:${job.export}`, cause.slice(0, longestTag)],
    contentType: "application/json",
    deadlineMs,
    replyTo,
  });
  headers.push([headerNames.id, id], [headerNames.messageId, id]);
  return bus.publishDurable(sharedJobSubject("normal", queue, plugin, ""), new TextEncoder().encode(payload), headers);
}

/**
 * `_<event id>-<hash>`, the same for every delivery of one event to one export. Plugins choose the ids of their events: with one
 * of another's they must not keep that from being heard.
 */
export function eventJobId(
  event: Pick<PlatformEvent, "id" | "name" | "source">,
  plugin: string,
  exportName: string,
): string {
  const id = `${ownIdPrefix}${event.id}-${shortHash(plugin, exportName, event.source, event.name)}`;
  if (isJobId(id)) return id;
  // An event's id may have the length of a job's id itself, or characters that one has not.
  return `${ownIdPrefix}${sha256(event.id).slice(0, 40)}-${shortHash(plugin, exportName, event.source, event.name)}`;
}

/** `_<plugin>-<task>-<second>`, the same for every scheduler. */
export function taskJobId(plugin: string, task: string, tickMs: number): string {
  const second = String(Math.floor(tickMs / 1000));
  const id = `${ownIdPrefix}${plugin}-${task}-${second}`;
  // With a dash in a name, plugin and task could be told apart in two ways.
  if (!plugin.includes("-") && !task.includes("-") && id.length <= longestId) return id;
  return `${ownIdPrefix}${plugin.slice(0, 24)}-${shortHash(plugin, task)}-${second}`;
}

function shortHash(...parts: string[]): string {
  return sha256(parts.join("\0")).slice(0, 12);
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
