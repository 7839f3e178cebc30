import type { JsonValue } from "@bufbuild/protobuf";
import type { Dice } from "./dice.ts";

/** Of each kind; older ones make way, or the calls would hit nothing but what is gone. */
const maxKept = 64;
const maxLength = 512;

/** Where a request takes its values from, when no answer of its own service has them. */
const aliases: Readonly<Record<string, string>> = {
  "AuthService.code": "UserService.code",
  "AuthService.invitation": "UserService.code",
  "AuthService.current_password": "AuthService.password",
  "AuthService.new_password": "AuthService.password",
  "AuthService.email": "UserService.email",
  "PluginService.job_id": "JobService.id",
  "AuditService.user_id": "UserService.id",
  "SettingsService.user_id": "UserService.id",
};

/** What the system under test has told so far: ids, names and tokens with which calls get further than "not found". */
export class KnownValues {
  readonly #values = new Map<string, string[]>();
  readonly #secret: ReadonlySet<string>;

  /** @param secret never learned: whoever the run itself depends on */
  constructor(secret: Iterable<string>) {
    this.#secret = new Set(secret);
  }

  add(kind: string, value: string): void {
    if (value === "" || value.length > maxLength || this.#secret.has(value)) return;
    let values = this.#values.get(kind);
    if (values === undefined) this.#values.set(kind, (values = []));
    if (values.includes(value)) return;
    values.push(value);
    if (values.length > maxKept) values.splice(this.#values.size % maxKept, 1);
  }

  /** A value for a field of a service's request, or undefined where none is known. */
  pick(service: string, field: string, dice: Dice): string | undefined {
    const kind = `${service}.${field}`;
    const values = this.#values.get(aliases[kind] ?? kind);
    return values === undefined ? undefined : dice.pick(values);
  }

  /** Takes every text out of an answer. */
  learn(service: string, answer: JsonValue): void {
    if (typeof answer !== "object" || answer === null) return;
    if (Array.isArray(answer)) {
      for (const item of answer.slice(0, 20)) this.learn(service, item);
      return;
    }
    for (const [name, value] of Object.entries(answer)) {
      if (typeof value === "string") this.add(`${service}.${protoName(name)}`, value);
      else this.learn(service, value);
    }
    // The way to the next page is asked for under another name.
    const { nextPageToken } = answer;
    if (typeof nextPageToken === "string") this.add(`${service}.page_token`, nextPageToken);
  }
}

function protoName(jsonName: string): string {
  return jsonName.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
