import { create } from "@bufbuild/protobuf";
import { BusError, type Bus } from "@millrace/bus";
import {
  decodeJson,
  MillraceError,
  RepairLogsResponseSchema,
  repairSubject,
  type RepairAnswer,
  type RepairLogsRequest,
  type RepairLogsResponse,
  type RepairQuestion,
} from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** Repairing waits for the rows to catch up, and then for a lease to run out; the doors give up at 120 s. */
const answerMs = 100_000;
const encoder = new TextEncoder();

/** Has the projector look for jobs that nobody would deliver any more, and publish them again. */
export async function repairLogs(
  { bus, events }: ControlContext,
  { dryRun }: RepairLogsRequest,
): Promise<RepairLogsResponse> {
  const { ok, reason, looked, jobs, repaired } = await ask(bus, { dryRun });
  events.logsRepaired(dryRun, repaired ?? 0, reason ?? "");
  return create(RepairLogsResponseSchema, {
    ok: ok ?? false,
    reason: reason ?? "",
    looked: BigInt(looked ?? 0),
    jobs: (jobs ?? []).map(({ id, stream, seq, why }) => ({ id, stream, seq: BigInt(seq), why })),
    repaired: BigInt(repaired ?? 0),
  });
}

async function ask(bus: Bus, question: RepairQuestion): Promise<Partial<RepairAnswer>> {
  try {
    const answer = await bus.request(repairSubject, encoder.encode(JSON.stringify(question)), { timeoutMs: answerMs });
    return decodeJson<RepairAnswer>(answer.data);
  } catch (cause) {
    if (!(cause instanceof BusError) || cause.code !== "unavailable") throw cause;
    throw new MillraceError("unavailable", "no projector answers: it is who repairs", { cause, retryAfterMs: 5000 });
  }
}
