import { readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { lockDataDir } from "./lock-data-dir.ts";

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "gone";
  }
}

test("a lock is there with its holder or not at all, and one that was left behind is taken over", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-lock-"));
  try {
    const path = join(folder, "postgres.lock");
    // Of no process: ids end far below.
    await writeFile(path, "999999999");
    const seen = new Set<string>();
    const locked = new AbortController();
    const locking = lockDataDir(join(folder, "postgres")).finally(() => locked.abort());
    while (!locked.signal.aborted) {
      seen.add(textOf(path));
      await turn();
    }
    const lock = await locking;
    for (const expected of ["gone", "999999999", String(process.pid)]) seen.delete(expected);
    expect([...seen]).toEqual([]);
    await expect(lockDataDir(join(folder, "postgres"))).rejects.toMatchObject({ code: "failed_precondition" });
    await lock[Symbol.asyncDispose]();
    expect(await readdir(folder)).toEqual([]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
