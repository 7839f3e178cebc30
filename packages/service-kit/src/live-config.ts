import type { z } from "zod";
import { envName, isSecret } from "./config-setting.ts";
import type { ConfigSource, LoadedConfig } from "./load-config.ts";
import { checkRuntimeSetting, runtimeSettings } from "./runtime-settings.ts";

/** One setting of a process, as it is shown. */
export interface SettingView {
  readonly name: string;
  /** Undefined when there is none, and for a secret. */
  readonly value: unknown;
  readonly source: ConfigSource;
  readonly defaultValue: unknown;
  readonly description: string;
  /** May be changed while the system runs. */
  readonly changeable: boolean;
  readonly secret: boolean;
  /** The variable of the environment that sets it. */
  readonly variable: string;
}

/**
 * The configuration of a process that follows what the database holds: where neither command line, environment nor file
 * set a value, one that was set while the system runs comes before the default.
 */
export class LiveConfig<S extends z.ZodObject = z.ZodObject> {
  /** Always the present ones: keep this object, and look into it anew each time. */
  readonly values: z.output<S>;
  readonly #schema: S;
  readonly #loaded: LoadedConfig<z.output<S>>;
  readonly #fromDatabase = new Set<string>();

  constructor(schema: S, loaded: LoadedConfig<z.output<S>>) {
    this.#schema = schema;
    this.#loaded = loaded;
    this.values = { ...loaded.values };
  }

  /**
   * Takes over everything that the database holds; what it does not hold any more is the default again. What other processes
   * read is left out.
   * @returns what cannot be used, in words for the log
   */
  follow(stored: ReadonlyMap<string, unknown>): string[] {
    const problems: string[] = [];
    const sources: Readonly<Record<string, ConfigSource>> = this.#loaded.sources;
    for (const name of Object.keys(runtimeSettings)) {
      if (!Object.hasOwn(this.#schema.shape, name) || sources[name] !== "default") continue;
      const checked = stored.has(name) ? checkRuntimeSetting(name, stored.get(name)) : undefined;
      if (checked !== undefined && "problem" in checked) {
        problems.push(`${name}: ${checked.problem}`);
        continue;
      }
      const after: unknown = checked === undefined ? this.#loaded.values[name as keyof z.output<S>] : checked.value;
      if (checked === undefined) this.#fromDatabase.delete(name);
      else this.#fromDatabase.add(name);
      Object.assign(this.values, { [name]: after });
    }
    return problems;
  }

  /** Every setting, by name. */
  list(): SettingView[] {
    const sources: Readonly<Record<string, ConfigSource>> = this.#loaded.sources;
    const values: Readonly<Record<string, unknown>> = this.values;
    return Object.keys(this.#schema.shape)
      .toSorted()
      .map((name) => {
        const setting = this.#schema.shape[name] as z.ZodType;
        const secret = isSecret(setting);
        return {
          name,
          value: secret ? undefined : values[name],
          source: this.#fromDatabase.has(name) ? "database" : (sources[name] ?? "default"),
          defaultValue: secret ? undefined : setting.safeParse(undefined).data,
          description: setting.description ?? "",
          changeable: Object.hasOwn(runtimeSettings, name),
          secret,
          variable: envName(name, setting),
        };
      });
  }
}
