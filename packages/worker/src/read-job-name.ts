import type { Delivery } from "@millrace/bus";
import { idInHeader, isJobId, isJobType, jobIdOf, splitOwner } from "@millrace/protocol";
import type { Lane } from "./intake.ts";
import type { JobName } from "./job.ts";

/** Whose job a message is: by its subject and, where that has no id, as jobIdOf says. */
export function readJobName(
  delivery: Delivery,
  lane: Lane,
): JobName & {
  /** What is wrong with the subject; undefined when nothing is. */
  readonly problem: string | undefined;
} {
  const rest = delivery.subject.slice(lane.prefix.length);
  const dot = rest.indexOf(".");
  const type = dot < 0 ? rest : rest.slice(0, dot);
  const { id: given, owner } = splitOwner(dot < 0 ? idInHeader : rest.slice(dot + 1));
  const named = given === idInHeader ? undefined : given;
  const isGood = named === undefined || isJobId(named);
  const id = jobIdOf(isGood ? named : undefined, (name) => delivery.header(name), delivery);
  const problem = !isJobType(type) ? `"${type}" is not a job type` : isGood ? undefined : `"${named}" is not a job id`;
  return { id, type, owner, problem };
}
