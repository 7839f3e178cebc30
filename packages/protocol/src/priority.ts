import { Priority } from "./gen/millrace/jobs/v1/job_pb.ts";

/** Priority words as they stand in subjects, most urgent first. Index + 1 is the protobuf value. */
export const priorityNames = ["critical", "high", "normal", "low"] as const;

export type PriorityName = (typeof priorityNames)[number];

/** 1 critical … 4 low: the protobuf values without UNSPECIFIED. */
export type PriorityLevel = 1 | 2 | 3 | 4;

export const priorityLevels: readonly PriorityLevel[] = [1, 2, 3, 4];

export function isPriorityName(text: string): text is PriorityName {
  return (priorityNames as readonly string[]).includes(text);
}

/** @throws RangeError on a value outside 1..4 */
export function priorityName(level: number): PriorityName {
  const name = priorityNames[level - 1];
  if (name === undefined) throw new RangeError(`no priority ${level}`);
  return name;
}

export function priorityLevel(name: PriorityName): PriorityLevel {
  return (priorityNames.indexOf(name) + 1) as PriorityLevel;
}

/** The level to use where a request leaves the priority open. */
export function priorityOrNormal(priority: Priority): PriorityLevel {
  return priorityLevels.find((level) => level === priority) ?? Priority.NORMAL;
}
