import { toJson } from "@bufbuild/protobuf";
import { timestampDate, ValueSchema, type Timestamp } from "@bufbuild/protobuf/wkt";
import {
  priorityName,
  priorityOrNormal,
  stateName,
  type Breach,
  type Job,
  type JobError,
  type JobEventView,
  type JobResult,
  type Payload,
} from "@millrace/protocol";
import { formatFields, printable } from "./format-table.ts";

export function formatTime(time: Timestamp | undefined): string {
  return time === undefined ? "" : timestampDate(time).toISOString();
}

export function formatPayload(payload: Payload | undefined): string {
  const content = payload?.content;
  switch (content?.case) {
    case "json":
      return JSON.stringify(toJson(ValueSchema, content.value));
    case "text":
      return content.value;
    case "raw":
      return `${content.value.length} bytes, base64: ${Buffer.from(content.value).toString("base64")}`;
    default:
      return "";
  }
}

export function formatError(error: JobError | undefined): string {
  if (error === undefined) return "";
  const text = `${error.code}: ${error.message}`;
  return error.breach === undefined ? text : `${text} (${formatBreach(error.breach)})`;
}

/** `fuel 1,000,001 of 1,000,000 units`. */
export function formatBreach({
  resource,
  figure,
  limit,
  unit,
}: Pick<Breach, "resource" | "figure" | "limit" | "unit">) {
  return `${resource.replaceAll("_", " ")} ${grouped(figure)} of ${grouped(limit)} ${unit}`;
}

function grouped(figure: bigint): string {
  return figure.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

export function formatRunTime(runUs: bigint): string {
  return runUs === 0n ? "" : `${(Number(runUs) / 1000).toFixed(3)} ms`;
}

export function formatJob(job: Job): string {
  return formatFields([
    ["id", job.id],
    ["owner", job.owner],
    ["state", stateName(job.state) + (job.cancelRequested ? " (cancel requested)" : "")],
    ["type", job.type],
    ["queue", job.queue],
    ["priority", priorityName(priorityOrNormal(job.priority))],
    ["attempt", `${job.attempt} of ${job.maxAttempts}`],
    ["waits for", job.waitReason],
    ["payload", formatPayload(job.payload)],
    ["result", formatPayload(job.result)],
    ["error", formatError(job.error)],
    ["tags", job.tags.join(", ")],
    ["correlation id", job.correlationId],
    ["unique key", job.uniqueKey],
    ["submitted", formatTime(job.submittedAt)],
    ["run at", formatTime(job.runAt)],
    ["started", formatTime(job.startedAt)],
    ["finished", formatTime(job.finishedAt)],
    ["run time", formatRunTime(job.runUs)],
    ["fuel", job.fuel === 0n ? "" : grouped(job.fuel)],
    ["plugin", job.plugin],
    ["worker", job.worker],
    ...job.errors.map((error): [string, string] => [`attempt ${error.attempt}`, formatError(error)]),
  ]);
}

export function formatResult(result: JobResult): string {
  return formatFields([
    ["id", result.id],
    ["state", stateName(result.state)],
    ["attempt", String(result.attempt)],
    ["result", formatPayload(result.output)],
    ["error", formatError(result.error)],
    ["run time", formatRunTime(result.runUs)],
  ]);
}

export function formatEvent(event: JobEventView): string {
  const more = [event.reason, formatError(event.error), formatPayload(event.result)].filter((text) => text !== "");
  return printable(
    [
      formatTime(event.at),
      event.kind.padEnd(9),
      event.jobId,
      `${event.queue}/${event.type}`,
      `#${event.attempt}`,
      ...more,
    ].join("  "),
  );
}
