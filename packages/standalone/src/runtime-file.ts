import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Where the system of a data folder is reached, for commands on this machine. */
export interface RuntimeFile {
  readonly pid: number;
  readonly httpUrl: string;
  readonly grpcAddress: string;
  readonly natsUrl: string;
}

/** Writes `runtime.json` into the data folder; it is there for as long as the system runs. */
export async function writeRuntimeFile(dataDir: string, content: RuntimeFile): Promise<AsyncDisposable> {
  const path = join(dataDir, "runtime.json");
  await mkdir(dataDir, { recursive: true });
  // Whole or not at all: a command may read it at any moment.
  await writeFile(`${path}.new`, `${JSON.stringify(content, undefined, 2)}\n`);
  await rename(`${path}.new`, path);
  return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
}
