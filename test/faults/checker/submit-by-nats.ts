import { headers as makeHeaders, NatsError, type JetStreamClient, type MsgHdrs } from "nats";
import type { Send } from "./evidence.ts";
import type { JobEdition, JobPlan } from "./job-plan.ts";

/** Longest wait for a PubAck; then nobody knows. */
const ackMs = 5000;

/** One publish with nothing but what `docs/jobs.md` says, by a client that knows nothing of Millrace. */
export async function submitByNats(
  client: JetStreamClient,
  plan: JobPlan,
  edition: JobEdition,
  number: 0 | 1,
  runAtMs: number,
  deadlineMs: number,
): Promise<Send> {
  const inSubject = plan.id !== undefined && plan.idIn !== "message id";
  const subject = `jobs.${edition.priority}.${plan.queue}.${plan.type}${inSubject ? `.${plan.id}` : ""}`;
  const headers = headersOf(plan, runAtMs, deadlineMs);
  const atMs = Date.now();
  const sent = { edition: number, atMs, ...(plan.id === undefined ? {} : { id: plan.id }) } as const;
  try {
    const { stream, seq, duplicate } = await client.publish(subject, edition.bytes, { headers, timeout: ackMs });
    // A cluster before 2.11 answers so for a message that is on its way and may never arrive (nats-server#5827, #6415).
    if (seq === 0) return { ...sent, doneMs: Date.now(), outcome: "uncertain", detail: "stored before, at no place" };
    return { ...sent, doneMs: Date.now(), outcome: "accepted", stream, seq, duplicate, detail: "" };
  } catch (error) {
    return { ...sent, doneMs: Date.now(), outcome: isRefusal(error) ? "refused" : "uncertain", detail: String(error) };
  }
}

/** That nobody listens, or that JetStream itself says no. A timeout and a lost connection say nothing. */
function isRefusal(error: unknown): boolean {
  if (!(error instanceof NatsError)) return false;
  return error.code === "503" || (error.api_error !== undefined && error.api_error.code < 500);
}

function headersOf(plan: JobPlan, runAtMs: number, deadlineMs: number): MsgHdrs {
  const headers = makeHeaders();
  const put = (name: string, value: string | number): void => {
    if (value !== "" && value !== 0) headers.set(name, String(value));
  };
  for (const [name, value] of Object.entries(plan.headers)) put(name, value);
  if (plan.id !== undefined && plan.idIn !== "subject") put("Nats-Msg-Id", plan.id);
  put("Millrace-Tags", plan.tags.join(","));
  put("Millrace-Correlation-Id", plan.correlationId);
  put("Millrace-Max-Attempts", plan.maxAttempts);
  put("Millrace-Backoff", plan.backoffMs === 0 ? "" : `fixed;base=${plan.backoffMs};jitter=0`);
  put("Millrace-Run-At", runAtMs);
  put("Millrace-Deadline", deadlineMs);
  put("traceparent", plan.traceparent);
  return headers;
}
