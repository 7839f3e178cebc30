import { execFileSync } from "node:child_process";
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { mkdtemp, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atExit } from "./at-exit.ts";

const chunk = new Uint8Array(1 << 20);

/** A small file system of its own that can be filled up. Needs the right to mount. */
export class SmallDisk implements AsyncDisposable {
  readonly folder: string;
  readonly #exit = atExit(() => this.#unmount());

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** @returns undefined where nothing may be mounted */
  static async mount(bytes: number): Promise<SmallDisk | undefined> {
    const folder = await mkdtemp(join(tmpdir(), "millrace-checker-disk-"));
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", folder], { stdio: "ignore" });
      return new SmallDisk(folder);
    } catch {
      await rmdir(folder);
      return undefined;
    }
  }

  /** Until nothing fits any more. */
  fill(): void {
    const file = openSync(this.#ballast, "w");
    try {
      for (let size = chunk.length; size > 0;) {
        try {
          writeSync(file, chunk, 0, size);
        } catch (error) {
          if (!(error instanceof Error) || !("code" in error) || error.code !== "ENOSPC") throw error;
          size >>= 1;
        }
      }
    } finally {
      closeSync(file);
    }
  }

  /** Gives the room back. */
  clear(): void {
    rmSync(this.#ballast, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#exit[Symbol.dispose]();
    this.#unmount();
    await rmdir(this.folder);
  }

  #unmount(): void {
    execFileSync("umount", ["-l", this.folder], { stdio: "ignore" });
  }

  get #ballast(): string {
    return join(this.folder, "ballast");
  }
}
