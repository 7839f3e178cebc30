import { randomUUID } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Where a running system is reached; the command line reads it. */
export interface RuntimeFacts {
  readonly pid: number;
  readonly httpUrl: string;
  readonly grpcAddress: string;
  readonly natsUrl: string;
}

/** Writes `<dataDir>/runtime.json` in one step; disposing removes it. */
export async function writeRuntimeFile(dataDir: string, facts: RuntimeFacts): Promise<AsyncDisposable> {
  const file = join(dataDir, "runtime.json");
  const fresh = `${file}.${randomUUID()}`;
  await writeFile(fresh, `${JSON.stringify(facts, null, 2)}\n`);
  await rename(fresh, file);
  return { [Symbol.asyncDispose]: () => rm(file, { force: true }) };
}
