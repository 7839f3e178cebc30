import { MillraceError, type Job } from "@millrace/protocol";
import type { StoredJob } from "@millrace/store";
import type { ControlContext } from "./control-context.ts";

/** A job as its row has it, else as this process accepted it a moment ago. */
export async function findJob(context: ControlContext, id: string): Promise<Job | undefined> {
  return (await findStoredJob(context, id))?.job ?? context.recent.get(id);
}

export async function findStoredJob(context: ControlContext, id: string): Promise<StoredJob | undefined> {
  const stored = await context.store.getJob(id);
  if (stored !== undefined) context.recent.remove(id);
  return stored;
}

export function noSuchJob(id: string): MillraceError {
  return new MillraceError("not_found", `no job ${id}`);
}
