/** The streams of the version before, for tests of what becomes of them. */
import { jobIdOf, parseJobSubject } from "@millrace/protocol";
import type { Bus } from "./bus.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const seconds = 1_000_000_000;

/** Asks JetStream. @throws Error with its answer when that is one */
export async function call(bus: Bus, subject: string, body?: object): Promise<Record<string, unknown>> {
  const data = body === undefined ? new Uint8Array(0) : encoder.encode(JSON.stringify(body));
  const answer = await bus.request(`$JS.API.${subject}`, data, { timeoutMs: 5000 });
  const json = JSON.parse(decoder.decode(answer.data)) as Record<string, unknown>;
  if (json["error"] !== undefined) throw new Error(`${subject}: ${JSON.stringify(json["error"])}`);
  return json;
}

/** The streams as the version before made them. */
export async function makeFormerStreams(bus: Bus, replicas = 1): Promise<void> {
  const shared = {
    storage: "file",
    discard: "new",
    max_bytes: 64 << 20,
    max_msgs: -1,
    max_consumers: -1,
    max_msgs_per_subject: -1,
    max_msg_size: -1,
    max_age: 0,
    duplicate_window: 20 * seconds,
    num_replicas: replicas,
  };
  await call(bus, "STREAM.CREATE.EVENTS", { ...shared, name: "EVENTS", subjects: ["events.>"], retention: "limits" });
  for (const level of ["critical", "high", "normal", "low"]) {
    const name = `JOBS_${level.toUpperCase()}`;
    const republish = { src: "jobs.>", dest: "events.submitted.>" };
    const subjects = [`jobs.${level}.>`];
    await call(bus, `STREAM.CREATE.${name}`, { ...shared, name, subjects, retention: "workqueue", republish });
  }
  await call(bus, "STREAM.CREATE.SCHEDULE", {
    ...shared,
    name: "SCHEDULE",
    subjects: ["schedule.*.*.*.*", "schedule.*.*.*.*.*"],
    retention: "workqueue",
    republish: { src: "schedule.>", dest: "events.scheduled.>" },
  });
}

export interface Job {
  readonly id: string;
  readonly text: string;
  readonly headers: Record<string, string>;
}

/** What a log holds, by the ids that everybody finds. */
export async function jobsOf(bus: Bus, stream: string): Promise<Job[]> {
  const jobs: Job[] = [];
  const { messages, firstSeq, lastSeq } = await bus.streamState(stream);
  for (let seq = firstSeq; seq <= lastSeq && jobs.length < messages; seq++) {
    const answer = await call(bus, `STREAM.MSG.GET.${stream}`, { seq }).catch(() => undefined);
    if (answer === undefined) continue;
    const message = answer["message"] as { subject: string; hdrs?: string; data?: string };
    const lines = Buffer.from(message.hdrs ?? "", "base64")
      .toString()
      .split("\r\n")
      .slice(1)
      .filter(Boolean);
    const headers = Object.fromEntries(lines.map((line) => line.split(": ", 2) as [string, string]));
    const place = { stream, seq, timestampMs: 0 };
    const id = jobIdOf(parseJobSubject(message.subject)?.id, (name) => headers[name], place);
    for (const name of Object.keys(headers)) if (name.startsWith("Nats-")) delete headers[name];
    delete headers["Millrace-Id"];
    delete headers["Millrace-Move"];
    jobs.push({ id, text: Buffer.from(message.data ?? "", "base64").toString(), headers });
  }
  return jobs;
}
