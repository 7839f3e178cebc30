import { readFile, stat } from "node:fs/promises";
import { parse } from "yaml";

/** Shorter values are no secrets, and would tear holes into every text. */
const leastRedactedChars = 4;
const envPrefix = "MILLRACE_SECRET_";
const groupOrOthers = 0o077;

export interface SecretSources {
  /** YAML or JSON: a mapping from names to texts. Only its owner may read it. */
  readonly file?: string;
  /** `MILLRACE_SECRET_<NAME>`, in upper case with `_` for `-`; goes before the file. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Secrets of plugins, by reference. Values leave it for the plugins that were granted them, and for no log. */
export class SecretVault {
  readonly #file: ReadonlyMap<string, string>;
  readonly #env: SecretSources["env"];
  /** Longest first, so that none is left half visible. */
  readonly #values: readonly (readonly [name: string, value: string])[];

  private constructor(file: ReadonlyMap<string, string>, env: SecretSources["env"]) {
    this.#file = file;
    this.#env = env;
    const fromEnv = Object.entries(env).flatMap(([name, value]): [string, string][] =>
      name.startsWith(envPrefix) && value !== undefined ? [[name.slice(envPrefix.length), value]] : [],
    );
    this.#values = [...fromEnv, ...file]
      .filter(([, value]) => value.length >= leastRedactedChars)
      .sort(([, a], [, b]) => b.length - a.length);
  }

  /** @throws RangeError when others than the owner may read the file, or it is no mapping of texts */
  static async open({ file, env }: SecretSources): Promise<SecretVault> {
    if (file === undefined) return new SecretVault(new Map(), env);
    const { mode } = await stat(file);
    if ((mode & groupOrOthers) !== 0) {
      throw new RangeError(`${file} may be read by others (mode ${(mode & 0o777).toString(8)}); chmod 600 it`);
    }
    const value: unknown = parse(await readFile(file, "utf8")) ?? {};
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new RangeError(`${file} is not a mapping of names to texts`);
    const secrets = new Map<string, string>();
    for (const [name, text] of Object.entries(value)) {
      if (typeof text !== "string") throw new RangeError(`${file}: "${name}" is not a text; quote it`);
      secrets.set(name, text);
    }
    return new SecretVault(secrets, env);
  }

  get(name: string): string | undefined {
    return this.#env[`${envPrefix}${name.toUpperCase().replaceAll("-", "_")}`] ?? this.#file.get(name);
  }

  /** The text without any secret's value. */
  redact(text: string): string {
    let clean = text;
    for (const [name, value] of this.#values) {
      if (clean.includes(value)) clean = clean.replaceAll(value, `[secret ${name}]`);
    }
    return clean;
  }
}
