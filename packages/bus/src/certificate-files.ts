import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import type { BusLogger } from "./bus-logger.ts";
import { BusError } from "./bus-error.ts";

/** Files in PEM. */
export interface CertificatePaths {
  /** The authorities that are trusted, and no others. */
  readonly ca: string;
  /** One's own certificate, with the intermediate ones behind it; goes with `key`. */
  readonly cert?: string;
  readonly key?: string;
}

/** Contents in PEM. */
export interface Certificates {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Files are looked at so often: watching them misses what a mounted volume swaps underneath. */
const lookEveryMs = 1000;

/**
 * Certificates that follow their files. A change counts when the files fit together, so that a certificate whose key is not
 * written yet changes nothing.
 */
export class CertificateFiles implements Disposable {
  readonly #paths: CertificatePaths;
  readonly #logger: BusLogger;
  readonly #timer: NodeJS.Timeout;
  readonly #listeners = new Set<() => void>();
  #current: Certificates;
  #refused = "";

  /** @throws BusError failed_precondition when a file cannot be read, or key and certificate do not belong together */
  constructor(paths: CertificatePaths, logger: BusLogger) {
    this.#paths = paths;
    this.#logger = logger;
    try {
      this.#current = certificates(paths, (path) => readFileSync(path, "utf8"));
      createSecureContext(this.#current);
    } catch (cause) {
      throw new BusError("failed_precondition", `certificates: ${messageOf(cause)}`, { cause });
    }
    this.#timer = setInterval(() => void this.#look(), lookEveryMs);
    this.#timer.unref();
  }

  get current(): Certificates {
    return this.#current;
  }

  /** The listener must not throw. */
  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }

  async #look(): Promise<void> {
    try {
      const texts = new Map<string, string>();
      for (const path of Object.values(this.#paths)) texts.set(path, await readFile(path, "utf8"));
      const found = certificates(this.#paths, (path) => texts.get(path) ?? "");
      if (JSON.stringify(found) === JSON.stringify(this.#current)) return;
      createSecureContext(found);
      this.#current = found;
      this.#refused = "";
    } catch (error) {
      const reason = messageOf(error);
      if (reason !== this.#refused) this.#logger.warn({ err: error }, "certificates as they stand cannot be used");
      this.#refused = reason;
      return;
    }
    this.#logger.info({ cert: this.#paths.cert }, "certificates changed");
    // A copy: the callee may change it.
    const all = [...this.#listeners];
    for (const listener of all) listener();
  }
}

function certificates(paths: CertificatePaths, read: (path: string) => string): Certificates {
  return {
    ca: read(paths.ca),
    ...(paths.cert === undefined ? {} : { cert: read(paths.cert) }),
    ...(paths.key === undefined ? {} : { key: read(paths.key) }),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
