import { create } from "@bufbuild/protobuf";
import {
  MillraceError,
  VerifyAuditResponseSchema,
  type VerifyAuditRequest,
  type VerifyAuditResponse,
} from "@millrace/protocol";
import { chainStart, endChain, followChain, type ChainCheck } from "@millrace/store";
import { hexOf } from "./audit-entry.ts";
import type { ControlContext } from "./control-context.ts";

/** Entries of one read, and so of one answer. */
const pageEntries = 500;

/** Recomputes the chain as it was when the call began, page by page. @throws MillraceError invalid_argument */
export async function* verifyAudit(
  { store }: ControlContext,
  request: VerifyAuditRequest,
): AsyncGenerator<VerifyAuditResponse> {
  const known = { seq: Number(request.knownSeq), hash: request.knownHash };
  if ((known.seq === 0) !== (known.hash === "")) {
    throw new MillraceError("invalid_argument", "known_seq and known_hash come together");
  }
  const head = await store.audit.head();
  let check: ChainCheck = { seq: 0, hash: chainStart };
  while (check.broken === undefined && check.seq < head.lastSeq) {
    const page = await store.audit.read(check.seq, Math.min(pageEntries, head.lastSeq - check.seq));
    if (page.length === 0) break;
    const noted = page.find(({ seq }) => seq === known.seq);
    check = followChain(check, page);
    if (check.broken === undefined && noted !== undefined && hexOf(noted.hash) !== known.hash) {
      check = {
        ...check,
        broken: { seq: known.seq, reason: `entry ${known.seq} does not have the hash that was given` },
      };
    }
    if (check.broken === undefined) yield answer(check.seq, head.lastSeq);
  }
  const end = endChain(check, head);
  if (end.broken === undefined && known.seq > end.seq) {
    const reason = `the trail ends at ${end.seq}, before entry ${known.seq}`;
    yield answer(end.seq, head.lastSeq, { ...end, broken: { seq: end.seq + 1, reason } });
  } else yield answer(end.seq, head.lastSeq, end);
}

function answer(checked: number, total: number, end?: ChainCheck): VerifyAuditResponse {
  const counts = { checked: BigInt(checked), total: BigInt(total) };
  if (end === undefined) return create(VerifyAuditResponseSchema, counts);
  const { seq, hash, broken } = end;
  const verdict = {
    intact: broken === undefined,
    brokenSeq: BigInt(broken?.seq ?? 0),
    reason: broken?.reason ?? "",
    lastSeq: BigInt(seq),
    lastHash: hexOf(hash),
  };
  return create(VerifyAuditResponseSchema, { ...counts, verdict });
}
