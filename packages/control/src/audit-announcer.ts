import { setTimeout as delay } from "node:timers/promises";
import { create, fromJson, toJson, toJsonString } from "@bufbuild/protobuf";
import { timestampFromMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Bus } from "@millrace/bus";
import {
  AuditEntrySchema,
  headerNames,
  PlatformEventSchema,
  platformEventSubject,
  type PlatformEvent,
} from "@millrace/protocol";
import type { ChainedRecord, Store } from "@millrace/store";
import { entryOf } from "./audit-entry.ts";
import type { LogPressure } from "./log-pressure.ts";
import { userEventName } from "./user-event-name.ts";

export interface AuditAnnouncerDeps {
  readonly bus: Bus;
  readonly store: Store;
  readonly pressure: LogPressure;
}

/** No client can publish an event with this source. */
const source = "audit";
const pageEntries = 64;
const firstPauseMs = 500;
const maxPauseMs = 30_000;
/** Entries that come one soon after the other are told together. */
const gatherMs = 100;
/** What another process left when it ended is looked for so often. */
const lookMs = 60_000;

/**
 * Tells plugins what stands in the audit trail: each entry as an event `audit.<service>.<method>`, and what it did to a user as
 * one more, in their order, at least once. How far it got is kept beside the trail.
 */
export class AuditAnnouncer implements AsyncDisposable {
  readonly #deps: AuditAnnouncerDeps;
  readonly #running: Promise<void>;
  #wake = Promise.withResolvers<void>();
  #stopped = false;

  constructor(deps: AuditAnnouncerDeps) {
    this.#deps = deps;
    this.#running = this.#run();
  }

  /** There may be something to tell. */
  wake(): void {
    this.#wake.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    this.wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    let pauseMs = firstPauseMs;
    while (!this.#stopped) {
      // Before the look at the trail: an entry that comes meanwhile must not be slept over.
      this.#wake = Promise.withResolvers();
      try {
        if (await this.#announce()) continue;
        pauseMs = firstPauseMs;
        await this.#wait(lookMs);
        if (!this.#stopped) await delay(gatherMs);
      } catch (error) {
        this.#deps.bus.logger.debug({ err: error, pauseMs }, "audit entries not told as events; they will be");
        await this.#wait(pauseMs);
        pauseMs = Math.min(pauseMs * 2, maxPauseMs);
      }
    }
  }

  /** @returns whether there may be more */
  async #announce(): Promise<boolean> {
    const { bus, store, pressure } = this.#deps;
    const { seq, announcedSeq, pruned } = await store.audit.head();
    if (announcedSeq >= seq) return false;
    pressure.admit();
    // The one before is read for its hash.
    const records = await store.audit.read(Math.max(0, announcedSeq - 1), pageEntries);
    const first = records.findIndex((record) => record.seq > announcedSeq);
    const last = records.at(-1);
    if (first < 0 || last === undefined) return false;
    const events = records
      .slice(first)
      .flatMap((record, index) => eventsOf(record, records[first + index - 1]?.hash ?? pruned.hash));
    await Promise.all(
      events.map((event) =>
        bus.publishDurable(
          platformEventSubject(event.name),
          new TextEncoder().encode(toJsonString(PlatformEventSchema, event)),
          [[headerNames.messageId, `event:${event.id}`]],
        ),
      ),
    );
    await store.audit.markAnnounced(last.seq);
    return last.seq < seq;
  }

  async #wait(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    await Promise.race([promise, this.#wake.promise]);
    clearTimeout(timer);
  }
}

function eventsOf(record: ChainedRecord, previous: Uint8Array): PlatformEvent[] {
  const { seq, action, result, atMs } = record;
  const data = fromJson(ValueSchema, toJson(AuditEntrySchema, entryOf(record, previous)));
  const event = (id: string, name: string): PlatformEvent =>
    create(PlatformEventSchema, { id, name, at: timestampFromMs(atMs), source, data });
  const ofUser = userEventName(action, result);
  const events = [event(`audit-${seq}`, auditEventName(action))];
  return ofUser === undefined ? events : [...events, event(`user-${seq}`, ofUser)];
}

/** `JobService/CancelJob` as `audit.job_service.cancel_job`. */
export function auditEventName(action: string): string {
  const parts = action.split("/").map((part) =>
    part
      .replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_")
      .toLowerCase()
      .replaceAll(/[^a-z0-9_-]/g, "_"),
  );
  return ["audit", ...parts.filter((part) => part !== "")].join(".");
}
