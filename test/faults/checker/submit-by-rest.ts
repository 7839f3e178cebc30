import type { Rest } from "../../lib/rest.ts";
import type { Send, SteerCall } from "./evidence.ts";
import type { JobEdition, JobPlan } from "./job-plan.ts";

/** No answer after so long is wrong in itself. */
export const answerMs = 60_000;

export interface RestAnswer {
  readonly atMs: number;
  readonly doneMs: number;
  /** 0: none. */
  readonly status: number;
  readonly body: { readonly id?: string; readonly duplicate?: boolean; readonly state?: string };
  /** The code of a refusal, or the error. */
  readonly detail: string;
}

/** One call, whatever comes of it. */
export async function callRest(rest: Rest, path: string, body: object): Promise<RestAnswer> {
  const atMs = Date.now();
  try {
    const response = await rest.fetch(path, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "content-type": "application/json" },
      signal: AbortSignal.timeout(answerMs),
    });
    const { status } = response;
    const answered = (await response.json()) as RestAnswer["body"] & { error?: { code: string; message: string } };
    const { error } = answered;
    const detail = error === undefined ? "" : `${error.code}: ${error.message}`;
    return { atMs, doneMs: Date.now(), status, body: answered, detail };
  } catch (error) {
    const timedOut = error instanceof Error && error.name === "TimeoutError";
    const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : "";
    const detail = timedOut ? `no answer in ${answerMs} ms` : `${String(error)}${cause}`;
    return { atMs, doneMs: Date.now(), status: 0, body: {}, detail };
  }
}

export async function submitByRest(
  rest: Rest,
  plan: JobPlan,
  edition: JobEdition,
  number: 0 | 1,
  runAtMs: number,
  deadlineMs: number,
): Promise<{ readonly send: Send; readonly answer: RestAnswer }> {
  const answer = await callRest(rest, "/api/v1/jobs", {
    ...(plan.id === undefined ? {} : { id: plan.id }),
    queue: plan.queue,
    type: plan.type,
    priority: `PRIORITY_${edition.priority.toUpperCase()}`,
    payload: payloadOf(edition),
    tags: plan.tags,
    correlationId: plan.correlationId,
    ...(plan.maxAttempts === 0 ? {} : { maxAttempts: plan.maxAttempts }),
    ...(plan.backoffMs === 0
      ? {}
      : { backoff: { kind: "BACKOFF_KIND_FIXED", baseMs: plan.backoffMs, jitterPercent: 0 } }),
    ...(runAtMs === 0 ? {} : { runAt: new Date(runAtMs).toISOString() }),
    ...(deadlineMs === 0 ? {} : { deadline: new Date(deadlineMs).toISOString() }),
    ...(plan.uniqueKey === "" ? {} : { uniqueKey: plan.uniqueKey }),
  });
  const { atMs, doneMs, status, body, detail } = answer;
  const id = body.id ?? plan.id;
  const send: Send = {
    edition: number,
    atMs,
    doneMs,
    outcome: status === 200 ? "accepted" : status >= 400 && status < 500 ? "refused" : "uncertain",
    ...(id === undefined ? {} : { id }),
    ...(status === 200 ? { duplicate: body.duplicate === true } : {}),
    detail: `${status} ${detail}`.trim(),
  };
  return { send, answer };
}

function payloadOf({ form, bytes }: JobEdition): object {
  const text = Buffer.from(bytes);
  if (form === "json") return { json: JSON.parse(text.toString()) as unknown };
  return form === "text" ? { text: text.toString() } : { raw: text.toString("base64") };
}

/** The answer to a call that cancels a job or runs it again. */
export async function steerJob(rest: Rest, id: string, verb: "cancel" | "retry"): Promise<SteerCall> {
  const { atMs, doneMs, status, body, detail } = await callRest(rest, `/api/v1/jobs/${id}:${verb}`, {});
  return { atMs, doneMs, status, detail: status === 200 ? (body.state ?? "") : detail };
}
