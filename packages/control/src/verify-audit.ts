import { create } from "@bufbuild/protobuf";
import {
  MillraceError,
  VerifyAuditResponseSchema,
  type VerifyAuditRequest,
  type VerifyAuditResponse,
} from "@millrace/protocol";
import { endChain, followChain, pruningAction, pruningObject, type AuditHead, type ChainCheck } from "@millrace/store";
import { hexOf } from "./audit-entry.ts";
import type { ControlContext } from "./control-context.ts";

/** Entries of one read, and so of one answer. */
const pageEntries = 500;

/**
 * Recomputes the chain as it was when the call began, page by page, from the first entry or the last that was pruned.
 * @throws MillraceError invalid_argument; failed_precondition when the given entry was pruned
 */
export async function* verifyAudit(
  context: ControlContext,
  request: VerifyAuditRequest,
): AsyncGenerator<VerifyAuditResponse> {
  const { audit } = context.store;
  const known = { seq: Number(request.knownSeq), hash: request.knownHash };
  if ((known.seq === 0) !== (known.hash === "")) {
    throw new MillraceError("invalid_argument", "known_seq and known_hash come together");
  }
  const head = await audit.head();
  const { pruned } = head;
  if (known.seq > 0 && known.seq < pruned.seq) {
    const reason = `entry ${known.seq} was pruned, as all up to ${pruned.seq}`;
    throw new MillraceError("failed_precondition", reason, { details: [{ field: "known_seq", reason }] });
  }
  let check: ChainCheck = pruned;
  let told: string | undefined;
  if (known.seq === pruned.seq && known.seq > 0) check = compared(check, pruned, known);
  while (check.broken === undefined && check.seq < head.lastSeq) {
    const page = await audit.read(check.seq, Math.min(pageEntries, head.lastSeq - check.seq));
    if (page.length === 0) break;
    check = followChain(check, page);
    told = page.findLast(({ action }) => action === pruningAction)?.object ?? told;
    const noted = page.find(({ seq }) => seq === known.seq);
    if (noted !== undefined) check = compared(check, noted, known);
    if (check.broken === undefined) yield answer(check, head);
  }
  let end = endChain(check, head);
  if (end.broken === undefined && pruned.seq > 0 && told !== pruningObject(pruned)) {
    const reason = `the trail begins after entry ${pruned.seq}, but does not say that this was pruned`;
    end = { ...end, broken: { seq: pruned.seq, reason } };
  }
  if (end.broken === undefined && known.seq > end.seq) {
    const reason = `the trail ends at ${end.seq}, before entry ${known.seq}`;
    end = { ...end, broken: { seq: end.seq + 1, reason } };
  }
  // What was pruned meanwhile is missing by right.
  if (end.broken !== undefined && (await audit.head()).pruned.seq !== pruned.seq) yield* verifyAudit(context, request);
  else yield answer(end, head, true);
}

function compared(check: ChainCheck, noted: ChainCheck, known: { seq: number; hash: string }): ChainCheck {
  if (check.broken !== undefined || hexOf(noted.hash) === known.hash) return check;
  return { ...check, broken: { seq: known.seq, reason: `entry ${known.seq} does not have the hash that was given` } };
}

function answer(check: ChainCheck, { pruned, lastSeq }: AuditHead, isLast = false): VerifyAuditResponse {
  const { seq, hash, broken } = check;
  const counts = { checked: BigInt(seq - pruned.seq), total: BigInt(lastSeq - pruned.seq) };
  if (!isLast) return create(VerifyAuditResponseSchema, counts);
  const verdict = {
    intact: broken === undefined,
    brokenSeq: BigInt(broken?.seq ?? 0),
    reason: broken?.reason ?? "",
    lastSeq: BigInt(seq),
    lastHash: hexOf(hash),
    prunedSeq: BigInt(pruned.seq),
    prunedHash: pruned.seq === 0 ? "" : hexOf(pruned.hash),
  };
  return create(VerifyAuditResponseSchema, { ...counts, verdict });
}
