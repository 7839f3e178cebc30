import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { watchProject } from "./watch-project.ts";

it("tells one change for many writes, none for what a build writes, and ends with its signal", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-watch-"));
  try {
    await mkdir(join(folder, "src"));
    const stop = new AbortController();
    const changes = watchProject(folder, 50, stop.signal);
    const first = changes.next();
    await writeFile(join(folder, "plugin.wasm"), "built");
    for (const text of ["a", "b", "c"]) await writeFile(join(folder, "src/lib.rs"), text);
    expect(await first).toEqual({ value: undefined, done: false });
    const second = changes.next();
    stop.abort();
    expect(await second).toEqual({ value: undefined, done: true });
  } finally {
    await rm(folder, { recursive: true });
  }
});
