import type { HandlerContext } from "@connectrpc/connect";
import type { SubmitJobRequest } from "@millrace/protocol";
import { acceptJob } from "./accept-job.ts";
import type { ControlContext } from "./control-context.ts";
import { ownerOf } from "./owner-of.ts";
import { refusalOf } from "./refusal.ts";
import { traceparentOf } from "./traceparent-of.ts";

interface StreamRefusalInit {
  readonly index: bigint;
  readonly code: string;
  readonly message: string;
}

/** Jobs of one stream in flight; the client is not read from beyond it. */
const windowJobs = 512;
const mostRefusals = 100;

/** Accepts jobs for as long as they come, and answers with the totals. */
export async function streamJobs(
  context: ControlContext,
  requests: AsyncIterable<SubmitJobRequest>,
  call: HandlerContext,
): Promise<{ accepted: bigint; refused: bigint; refusals: StreamRefusalInit[] }> {
  const submission = { traceparent: traceparentOf(call), owner: ownerOf(call), reply: "" };
  const inFlight = new Set<Promise<void>>();
  const refusals: StreamRefusalInit[] = [];
  let accepted = 0n;
  let refused = 0n;
  let next = 0n;
  const accept = async (request: SubmitJobRequest, index: bigint): Promise<void> => {
    try {
      await acceptJob(context, request, submission);
      accepted++;
    } catch (error) {
      refused++;
      if (refusals.length < mostRefusals) refusals.push({ index, ...refusalOf(error) });
    }
  };
  try {
    for await (const request of requests) {
      if (inFlight.size >= windowJobs) await Promise.race(inFlight);
      const job = accept(request, next++);
      inFlight.add(job);
      void job.finally(() => inFlight.delete(job));
    }
  } finally {
    // Also when the client broke off: what it sent is accepted or not, and nothing is left behind.
    await Promise.all(inFlight);
  }
  refusals.sort((a, b) => Number(a.index - b.index));
  return { accepted, refused, refusals };
}
