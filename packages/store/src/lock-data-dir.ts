import { randomUUID } from "node:crypto";
import { link, readFile, rm, writeFile } from "node:fs/promises";
import { MillraceError } from "@millrace/protocol";

/** Folders that this process holds: its own id in a lock of another time must not look like a living holder. */
const held = new Set<string>();

/**
 * PGlite corrupts a folder that two processes open. A lock file beside it names the process that has it; one whose
 * process is gone is taken over.
 * @throws MillraceError `failed_precondition` when a living process holds it
 */
export async function lockDataDir(dataDir: string): Promise<AsyncDisposable> {
  const path = `${dataDir.replace(/\/+$/, "")}.lock`;
  for (let round = 0; round < 3; round++) {
    try {
      await createWhole(path, String(process.pid));
      held.add(path);
      return {
        async [Symbol.asyncDispose]() {
          held.delete(path);
          await rm(path, { force: true });
        },
      };
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
      const pid = Number(await readFile(path, "utf8").catch(() => "0"));
      if (held.has(path) || (pid !== process.pid && isAlive(pid))) {
        throw new MillraceError("failed_precondition", `process ${pid} uses the data folder ${dataDir}`);
      }
      await rm(path, { force: true });
    }
  }
  throw new MillraceError("failed_precondition", `the lock ${path} cannot be taken`);
}

/** Nobody sees the file without its text, and takes it for one that was left behind. @throws EEXIST */
async function createWhole(path: string, text: string): Promise<void> {
  const own = `${path}.${randomUUID()}`;
  await writeFile(own, text);
  try {
    await link(own, path);
  } finally {
    await rm(own, { force: true });
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
