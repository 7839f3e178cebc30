import { BusError, type Bus } from "@millrace/bus";
import type { HostAnswer, HostAsk, HostFunction } from "@millrace/plugin-host";
import type { HostCaller } from "./host-caller.ts";
import { denied, exceeded, HostFailure, unavailable } from "./host-failure.ts";
import { HttpClient } from "./http-client.ts";
import { PluginStore, type StoreOwner } from "./plugin-store.ts";
import { publishPluginEvent } from "./publish-plugin-event.ts";
import type { SecretVault } from "./secret-vault.ts";
import { submitPluginJob } from "./submit-plugin-job.ts";

/** Requests of one plugin that wait for their servers at one time. */
const mostOpenRequests = 1024;
/** Jobs and events that one call may send: more is a flood. */
const mostSentPerCall = 256;
const none = new Uint8Array(0);
const done = { meta: {} } as const;

export interface HostServicesOptions {
  readonly bus: Bus;
  readonly secrets: SecretVault;
  /** `host:port` that plugins may reach although their addresses are private. */
  readonly httpPrivate: readonly string[];
  /** See HttpClient. */
  readonly nameServers?: readonly string[];
  onAnswer(name: HostFunction, outcome: "ok" | "denied" | "failed"): void;
}

/** What plugins ask of the world, done for them: each ask is checked against what the plugin was granted. */
export class HostServices {
  readonly #options: HostServicesOptions;
  readonly #http: HttpClient;
  readonly #store: PluginStore;
  readonly #openRequests = new Map<string, number>();

  constructor(options: HostServicesOptions) {
    this.#options = options;
    this.#http = new HttpClient(options.httpPrivate, options.nameServers);
    this.#store = new PluginStore(options.bus);
  }

  /** Never rejects: a failure is an answer. */
  async answer(caller: HostCaller, ask: HostAsk): Promise<HostAnswer> {
    try {
      const answer = await this.#carryOut(caller, ask);
      this.#options.onAnswer(ask.function, "ok");
      return answer;
    } catch (error) {
      const { code, message, breach, fatal } = failureOf(ask.function, error);
      this.#options.onAnswer(ask.function, code === "HOST_DENIED" ? "denied" : "failed");
      const words = this.#options.secrets.redact(message);
      return { failure: { code, message: words, fatal, ...(breach === undefined ? {} : { breach }) } };
    }
  }

  async #carryOut(caller: HostCaller, ask: HostAsk): Promise<HostAnswer> {
    const body = ask.body ?? none;
    switch (ask.function) {
      case "http.request":
        return this.#request(caller, { ...ask.meta, body });
      case "kv.get": {
        const value = await this.#store.get(ownerOf(caller), ask.meta.key);
        return value === undefined ? { meta: { found: false } } : { meta: { found: true }, body: value };
      }
      case "kv.set":
        await this.#store.set(ownerOf(caller), ask.meta.key, body, ask.meta.ttlMs ?? 0);
        return done;
      case "kv.delete":
        await this.#store.delete(ownerOf(caller), ask.meta.key);
        return done;
      case "kv.list":
        return { meta: { keys: await this.#store.list(ownerOf(caller), ask.meta.prefix, ask.meta.limit) } };
      case "secrets.get":
        return { meta: { value: this.#secret(caller, ask.meta.name) } };
      case "events.publish":
        countSent(caller);
        return { meta: { id: await publishPluginEvent(this.#options.bus, caller, ask.meta, body) } };
      case "jobs.submit":
        countSent(caller);
        return { meta: { id: await submitPluginJob(this.#options.bus, caller, ask.meta, body) } };
      case "progress":
        caller.onProgress(ask.meta.percent, this.#options.secrets.redact(ask.meta.message));
        return done;
    }
  }

  async #request(caller: HostCaller, request: Parameters<HttpClient["request"]>[0]): Promise<HostAnswer> {
    const { plugin, granted, signal } = caller;
    const open = this.#openRequests.get(plugin) ?? 0;
    if (open >= mostOpenRequests) {
      throw exceeded({ resource: "http", figure: open + 1, limit: mostOpenRequests, unit: "calls" }, { fatal: false });
    }
    this.#openRequests.set(plugin, open + 1);
    try {
      const { status, headers, body } = await this.#http.request(request, { plugin, granted: granted.http, signal });
      return { meta: { status, headers }, body };
    } finally {
      const left = (this.#openRequests.get(plugin) ?? 1) - 1;
      if (left === 0) this.#openRequests.delete(plugin);
      else this.#openRequests.set(plugin, left);
    }
  }

  #secret(caller: HostCaller, name: string): string {
    if (!caller.granted.secrets.includes(name)) {
      throw denied(`secrets: "${name}" is not granted; declare it under capabilities.secrets, and grant secrets`);
    }
    const value = this.#options.secrets.get(name);
    if (value === undefined) throw unavailable(`secrets: this worker knows no secret "${name}"`);
    return value;
  }
}

function ownerOf({ plugin, granted }: HostCaller): StoreOwner {
  if (granted.kvBytes === 0) throw denied("kv: state is not granted; declare capabilities.kvBytes, and grant kv");
  return { plugin, quotaBytes: granted.kvBytes };
}

function countSent(caller: HostCaller): void {
  caller.sent++;
  if (caller.sent <= mostSentPerCall) return;
  throw exceeded(
    { resource: "host_calls", figure: caller.sent, limit: mostSentPerCall, unit: "calls" },
    { fatal: true },
  );
}

function failureOf(name: HostFunction, error: unknown): HostFailure {
  if (error instanceof HostFailure) return error;
  // The broker is away or refuses: the plugin may try again, or leave it to the next attempt.
  if (error instanceof BusError) return unavailable(`${name}: ${error.message}`, error);
  return unavailable(`${name}: ${error instanceof Error ? error.message : String(error)}`, error);
}
