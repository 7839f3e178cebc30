import { readFile } from "node:fs/promises";

/**
 * Bytes of memory that a process and its children hold now, as Linux counts them; undefined elsewhere. What they share, such as
 * the program itself, counts once.
 */
export async function residentBytes(pid: number): Promise<number | undefined> {
  const own = await statusBytes(pid);
  if (own === undefined) return undefined;
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const theirs = await Promise.all(
    children.split(" ").flatMap((child) => (child === "" ? [] : [residentBytes(Number(child))])),
  );
  return theirs.reduce<number>((sum, bytes) => sum + (bytes ?? 0), own);
}

async function statusBytes(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
  const found = /^Pss:\s+(\d+) kB$/m.exec(status);
  return found?.[1] === undefined ? undefined : Number(found[1]) * 1024;
}

/** Looks at a process's memory now and then, and keeps the most it had. */
export class MemoryWatch implements Disposable {
  most = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(pid: number, everyMs = 100) {
    this.#timer = setInterval(() => {
      void residentBytes(pid).then((bytes = 0) => (this.most = Math.max(this.most, bytes)));
    }, everyMs);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
