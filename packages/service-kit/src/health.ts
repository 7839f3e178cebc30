export interface MissingPart {
  readonly part: string;
  readonly reason: string;
}

export interface Readiness {
  readonly ready: boolean;
  readonly missing: readonly MissingPart[];
  /** What works, and should be looked after. */
  readonly degraded: readonly MissingPart[];
}

/** What one part of a process says about itself. */
export interface HealthPart extends Disposable {
  ready(): void;
  missing(reason: string): void;
}

/** A check that takes longer counts as missing, so that a probe always gets its answer in time. */
const checkTimeoutMs = 2_000;

/** What a process still lacks to do its work, told part by part. */
export class Health {
  readonly #parts = new Map<string, string | undefined>();
  readonly #checks = new Map<string, () => string | undefined | Promise<string | undefined>>();
  readonly #warnings = new Map<string, () => string | undefined>();
  #broken: string | undefined;

  /** Adds a part that reports changes by itself. It is missing until it says that it is ready. */
  part(name: string, reason = "starting"): HealthPart {
    this.#parts.set(name, reason);
    return {
      ready: () => void this.#parts.set(name, undefined),
      missing: (why) => void this.#parts.set(name, why),
      [Symbol.dispose]: () => void this.#parts.delete(name),
    };
  }

  /** Adds a part that is asked at each probe: `undefined` is fine, text says what is missing. */
  check(name: string, ask: () => string | undefined | Promise<string | undefined>): Disposable {
    this.#checks.set(name, ask);
    return { [Symbol.dispose]: () => void this.#checks.delete(name) };
  }

  /**
   * Adds a part that is asked at each probe what should be looked after; the process is ready all the same.
   * @throws RangeError when another part of this process has the name, and would no longer be heard
   */
  warn(name: string, ask: () => string | undefined): Disposable {
    if (this.#warnings.has(name)) throw new RangeError(`two parts warn under the name ${name}`);
    this.#warnings.set(name, ask);
    return { [Symbol.dispose]: () => void this.#warnings.delete(name) };
  }

  /** Something broke that only a new process repairs; the liveness probe fails from here on. */
  breakDown(reason: string): void {
    this.#broken ??= reason;
  }

  /** Why the process should be restarted, or `undefined`. */
  get broken(): string | undefined {
    return this.#broken;
  }

  async readiness(): Promise<Readiness> {
    const missing: MissingPart[] = [];
    if (this.#broken !== undefined) missing.push({ part: "process", reason: this.#broken });
    for (const [part, reason] of this.#parts) if (reason !== undefined) missing.push({ part, reason });
    const asked = await Promise.all(
      [...this.#checks].map(async ([part, ask]) => ({ part, reason: await askInTime(ask) })),
    );
    for (const { part, reason } of asked) if (reason !== undefined) missing.push({ part, reason });
    const degraded = [...this.#warnings].flatMap(([part, ask]) => {
      const reason = ask();
      return reason === undefined ? [] : [{ part, reason }];
    });
    return { ready: missing.length === 0, missing, degraded };
  }
}

async function askInTime(ask: () => string | undefined | Promise<string | undefined>): Promise<string | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<string>();
  const timer = setTimeout(() => resolve(`no answer within ${checkTimeoutMs} ms`), checkTimeoutMs);
  try {
    return await Promise.race([late, ask()]);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(timer);
  }
}
