import { matchesEvent } from "@millrace/protocol";
import { kvEntryBytes, type Capabilities, type HostAnswer, type HostAsk } from "@millrace/plugin-host";
import { readable, toBytes, type LocalWorld, type SentEvent, type SentJob } from "./local-world.ts";

const utf8 = new TextEncoder();

/** Answers what a plugin asks, from a test file instead of the world. One for each call. */
export class LocalHost {
  readonly events: SentEvent[] = [];
  readonly jobs: SentJob[] = [];
  readonly #world: LocalWorld;
  readonly #granted: Capabilities;
  readonly #state: Map<string, Uint8Array>;

  constructor(world: LocalWorld, granted: Capabilities) {
    this.#world = world;
    this.#granted = granted;
    this.#state = new Map(Object.entries(world.kv).map(([key, value]) => [key, utf8.encode(value)]));
  }

  tell(): void {
    // Progress is of no matter to a test.
  }

  async ask(ask: HostAsk): Promise<HostAnswer> {
    switch (ask.function) {
      case "http.request":
        return this.#request(ask.meta.method, ask.meta.url);
      case "secrets.get":
        return this.#secret(ask.meta.name);
      case "events.publish":
        return this.#publish(ask.meta.name, ask.meta.id, ask.body);
      case "jobs.submit":
        return this.#submit(ask.meta.type, ask.body);
      case "progress":
        return { meta: {} };
      default:
        return this.#keep(ask);
    }
  }

  #keep(ask: HostAsk): HostAnswer {
    if (this.#granted.kvBytes === 0) return denied("kv: state is not declared; see capabilities.kvBytes");
    switch (ask.function) {
      case "kv.get": {
        const value = this.#state.get(ask.meta.key);
        return value === undefined ? { meta: { found: false } } : { meta: { found: true }, body: value };
      }
      case "kv.set": {
        const body = ask.body ?? new Uint8Array(0);
        const before = this.#bytesOf(ask.meta.key);
        const bytes = this.#bytes() - before + utf8.encode(ask.meta.key).length + body.length + kvEntryBytes;
        const limit = this.#granted.kvBytes;
        if (bytes > limit) return failed(`kv: ${bytes} bytes of state; the quota is ${limit}`);
        this.#state.set(ask.meta.key, body.slice());
        return { meta: {} };
      }
      case "kv.delete":
        this.#state.delete(ask.meta.key);
        return { meta: {} };
      case "kv.list": {
        const { prefix, limit } = ask.meta;
        const keys = [...this.#state.keys()].filter((key) => key.startsWith(prefix)).toSorted();
        return { meta: { keys: keys.slice(0, limit) } };
      }
      default:
        return failed(`${ask.function} is not answered here`);
    }
  }

  #bytes(): number {
    return [...this.#state.keys()].reduce((sum, key) => sum + this.#bytesOf(key), 0);
  }

  #bytesOf(key: string): number {
    const value = this.#state.get(key);
    return value === undefined ? 0 : utf8.encode(key).length + value.length + kvEntryBytes;
  }

  #request(method: string, url: string): HostAnswer {
    const answer = this.#world.http.find((one) => (one.method ?? "GET") === method && one.url === url);
    if (answer === undefined) return failed(`http: the test has no answer for ${method} ${url}`);
    return {
      meta: { status: answer.status ?? 200, headers: answer.headers ?? {} },
      body: answer.body === undefined ? new Uint8Array(0) : toBytes(answer.body),
    };
  }

  #secret(name: string): HostAnswer {
    if (!this.#granted.secrets.includes(name)) return denied(`secrets: "${name}" is not declared`);
    const value = this.#world.secrets[name];
    return value === undefined ? failed(`secrets: the test has no secret "${name}"`) : { meta: { value } };
  }

  #publish(name: string, id: string | undefined, body: Uint8Array | undefined): HostAnswer {
    if (!this.#granted.events.some((pattern) => matchesEvent(pattern, name))) {
      return denied(`events: "${name}" is not declared`);
    }
    this.events.push({ name, data: body === undefined ? null : readable(body) });
    return { meta: { id: id ?? `event-${this.events.length}` } };
  }

  #submit(type: string, body: Uint8Array | undefined): HostAnswer {
    if (!this.#granted.jobs.some((declared) => declared === "*" || declared === type)) {
      return denied(`jobs: type "${type}" is not declared`);
    }
    this.jobs.push({ type, payload: body === undefined ? null : readable(body) });
    return { meta: { id: `job-${this.jobs.length}` } };
  }
}

/** As on a worker: what is not granted ends the call. */
function denied(message: string): HostAnswer {
  return { failure: { code: "HOST_DENIED", message, fatal: true } };
}

function failed(message: string): HostAnswer {
  return { failure: { code: "HANDLER_FAILED", message, fatal: false } };
}
