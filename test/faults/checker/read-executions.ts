import { createReadStream, existsSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Execution } from "./evidence.ts";

/** What the handlers wrote down; a line that a kill cut short never counted. */
export async function readExecutions(file: string): Promise<Execution[]> {
  if (!existsSync(file)) return [];
  const executions: Execution[] = [];
  for await (const line of createInterface({ input: createReadStream(file) })) {
    if (line.endsWith("}")) executions.push(JSON.parse(line) as Execution);
  }
  return executions;
}
