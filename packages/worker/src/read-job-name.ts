import type { Delivery } from "@millrace/bus";
import { idInHeader, isJobId, isJobType, jobIdOf, splitOwner } from "@millrace/protocol";
import type { Lane } from "./intake.ts";
import type { JobName } from "./job.ts";

/** A name, and what is wrong with the subject; undefined when nothing is. */
type ReadName = JobName & { readonly problem: string | undefined };

/** Whose job a message is: by its subject and, where that has no id, as jobIdOf says. */
export function readJobName(delivery: Delivery, lane: Lane): ReadName {
  const header = (name: string): string | undefined => delivery.header(name);
  const { shared } = lane;
  if (shared !== undefined && isSame(shared.subject, delivery.subjectBytes)) {
    return { id: jobIdOf(undefined, header, delivery), type: shared.type, owner: shared.owner, problem: undefined };
  }
  const rest = delivery.subject.slice(lane.prefix.length);
  const dot = rest.indexOf(".");
  const type = dot < 0 ? rest : rest.slice(0, dot);
  const { id: given, owner } = splitOwner(dot < 0 ? idInHeader : rest.slice(dot + 1));
  const named = given === idInHeader ? undefined : given;
  const isGood = named === undefined || isJobId(named);
  const id = jobIdOf(isGood ? named : undefined, header, delivery);
  const problem = !isJobType(type) ? `"${type}" is not a job type` : isGood ? undefined : `"${named}" is not a job id`;
  // A copy: the bytes are the receive buffer's.
  if (named === undefined && problem === undefined)
    lane.shared = { subject: new Uint8Array(delivery.subjectBytes), type, owner };
  return { id, type, owner, problem };
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  // From the end: subjects of a lane begin alike.
  for (let at = a.length - 1; at >= 0; at--) if (a[at] !== b[at]) return false;
  return true;
}
