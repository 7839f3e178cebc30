import { toBinary } from "@bufbuild/protobuf";
import { MillraceError, PluginManifestSchema, type PluginManifest } from "@millrace/protocol";
import { Piscina } from "piscina";
import type { InspectAnswer, InspectWish } from "./inspect-thread.ts";

/** Modules that wait; each may have 16 MiB. */
const mostWaiting = 8;
/** With those in front of it. The slowest module known takes V8 six seconds to validate. */
const timeoutMs = 30_000;
/** Without work the thread ends. */
const idleTimeout = 60_000;

/**
 * Looks at modules in a thread, one after the other: what V8 needs to validate the worst of those that are small enough would keep
 * everybody else waiting for seconds.
 */
export class ModuleInspector implements AsyncDisposable {
  readonly #thread: Piscina<InspectWish, InspectAnswer>;

  constructor() {
    const filename = new URL("./inspect-thread.ts", import.meta.url).href;
    this.#thread = new Piscina({
      filename,
      name: "inspect",
      minThreads: 0,
      maxThreads: 1,
      stricterFIFO: true,
      idleTimeout,
      env: {},
      // Extism loads node:wasi, of which Node warns on the terminal for each thread.
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    // Of a thread that ended without work: another takes its place. What one works at fails with it.
    this.#thread.on("error", () => {});
  }

  /**
   * @param manifest whose exports must be there, and whose capabilities cover what the module imports
   * @throws MillraceError resource_exhausted when too many wait, unavailable when it is stopped
   */
  async inspect(module: Uint8Array, manifest?: PluginManifest): Promise<InspectAnswer> {
    if (this.#thread.queueSize >= mostWaiting) {
      throw new MillraceError("resource_exhausted", `${mostWaiting} modules wait to be looked at`, {
        retryAfterMs: 1000,
      });
    }
    const bytes = new Uint8Array(module); // a copy of its own, which can be handed over
    const declared = manifest === undefined ? undefined : toBinary(PluginManifestSchema, manifest);
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      return await this.#thread.run({ module: bytes, manifest: declared }, { signal, transferList: [bytes.buffer] });
    } catch (error) {
      if (!signal.aborted)
        throw new MillraceError("unavailable", "the module could not be looked at", { cause: error });
      return { problems: [{ field: "module", reason: `is not looked through within ${timeoutMs} ms` }], exports: [] };
    }
  }

  /** What waits fails. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#thread.destroy();
  }
}
