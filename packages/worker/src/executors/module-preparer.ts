import type { RunnableVersion } from "../plugins/runnable-version.ts";
import type { RefusedVersion } from "../plugins/version-shelf.ts";
import type { ExecutorHandle } from "./executor-handle.ts";

/** Rewriting takes some 40 ms per MB and the largest module has 16 MB; compiling is quicker. */
const prepareTimeoutMs = 15_000;
/** A module that takes its executor down so often will do so again. */
const mostTries = 2;

interface Preparation {
  readonly resolve: (refused: RefusedVersion | undefined) => void;
  tries: number;
}

/** Has modules rewritten by an executor, away from the worker's own thread: they are other people's. */
export class ModulePreparer {
  readonly #open = new Map<RunnableVersion, Preparation>();
  #executor: ExecutorHandle | undefined;
  #kill: (error: unknown) => void = () => undefined;

  /** @returns why the module cannot run; undefined when it can */
  async prepare(version: RunnableVersion): Promise<RefusedVersion | undefined> {
    const { promise, resolve } = Promise.withResolvers<RefusedVersion | undefined>();
    const preparation: Preparation = { resolve, tries: 0 };
    this.#open.set(version, preparation);
    this.#begin(version, preparation);
    const timer = setTimeout(() => {
      const refused = `it was not ready after ${prepareTimeoutMs} ms`;
      // Perhaps another's call held the executor.
      if (!this.done(version, { refused, mayPass: true })) return;
      if (preparation.tries > 0) this.#kill(new Error(`${version.label} holds its executor while it is loaded`));
    }, prepareTimeoutMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  isAtWork(version: RunnableVersion): boolean {
    return this.#open.has(version);
  }

  /** @returns whether somebody waited for it */
  done(version: RunnableVersion, refused: RefusedVersion | undefined): boolean {
    const preparation = this.#open.get(version);
    if (preparation === undefined) return false;
    this.#open.delete(version);
    preparation.resolve(refused);
    return true;
  }

  attach(executor: ExecutorHandle, kill: (error: unknown) => void): void {
    this.#executor = executor;
    this.#kill = kill;
    for (const [version, preparation] of this.#open) this.#begin(version, preparation);
  }

  detach(): void {
    this.#executor = undefined;
    for (const [version, { tries }] of this.#open) {
      if (tries >= mostTries)
        this.done(version, { refused: "it takes down the executor that loads it", mayPass: false });
    }
  }

  #begin(version: RunnableVersion, preparation: Preparation): void {
    if (this.#executor === undefined) return;
    preparation.tries++;
    this.#executor.load(version);
  }
}
