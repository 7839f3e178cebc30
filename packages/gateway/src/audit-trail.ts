import { randomUUID } from "node:crypto";
import { create, type DescMethod, type Message } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { AuditEntrySchema, AuditRuntimeService, type AuditEntry } from "@millrace/protocol";
import { createClient, errorCodeName, type CallContext, type ConnectError, type RpcTransport } from "@millrace/rpc";
import type { Logger } from "@millrace/service-kit";
import type { MethodAccess } from "./check-access.ts";
import type { Refusals } from "./refusals.ts";

/** Entries wait so long for others to go with them. */
const batchMs = 50;
const maxBatch = 500;
/** Entries that control has not taken; beyond, audited calls are refused. */
const maxWaiting = 5_000;
/** Of those, of one user, or of all strangers: whoever floods the trail leaves the others their room. */
const maxWaitingOfOne = 1_000;
const appendTimeoutMs = 5_000;
const retryMs = 500;
/** What is left when the gateway stops is given up after so many tries that failed. */
const maxLastTries = 3;
/** … or after so long. */
const lastTriesMs = 5_000;
/** Of what a call was about; the trail keeps no more. */
const maxObjectChars = 512;
/** The first of these that the request has says what the call was about. */
const objectFields = ["id", "jobId", "name", "keyId", "queue", "key", "email", "type"];

/** Writes down who did what. While control does not take entries, what has to be written down is not done. */
export class AuditTrail implements AsyncDisposable {
  readonly #client;
  readonly #refusals: Refusals;
  readonly #logger: Logger;
  readonly #access: ReadonlyMap<DescMethod, MethodAccess>;
  readonly #addressOf: (call: CallContext) => string;
  readonly #waiting: AuditEntry[] = [];
  /** How many of them each user has. */
  readonly #waitingOf = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  #away = false;

  constructor(
    transport: RpcTransport,
    access: ReadonlyMap<DescMethod, MethodAccess>,
    addressOf: (call: CallContext) => string,
    refusals: Refusals,
    logger: Logger,
  ) {
    this.#client = createClient(AuditRuntimeService, transport);
    this.#access = access;
    this.#addressOf = addressOf;
    this.#refusals = refusals;
    this.#logger = logger;
  }

  /** Before anything is said about the call. @throws ConnectError resource_exhausted for a caller whose entries are too many */
  requireShare(call: CallContext, access: MethodAccess | undefined): void {
    if (access?.audited !== true || (this.#waitingOf.get(call.identity.subject) ?? 0) < maxWaitingOfOne) return;
    throw this.#refusals.limited("rate_limit", "too many calls that are written down", { "retry-after": "1" });
  }

  /** @throws ConnectError unavailable for a call that could not be written down */
  require(access: MethodAccess | undefined): void {
    if (access?.audited !== true || (!this.#away && this.#waiting.length < maxWaiting)) return;
    throw this.#refusals.away("audit_away", "the audit trail cannot be written");
  }

  /** Takes down a call that has ended, well or not. */
  record(call: CallContext, error: ConnectError | undefined): void {
    if (this.#access.get(call.method)?.audited !== true) return;
    // What was done meanwhile has its entry all the same: how many calls run is bounded, too.
    if (error !== undefined && this.#waiting.length >= maxWaiting) return;
    // Whoever floods a door must not fill the trail: rates bound what is written down, too.
    if (this.#refusals.isLimit(error)) return;
    const { subject, email, tokenId } = call.identity;
    this.#waiting.push(
      create(AuditEntrySchema, {
        id: randomUUID(),
        at: timestampNow(),
        actor: { userId: subject, email, tokenId },
        address: this.#addressOf(call),
        door: call.protocolName,
        action: `${call.service.name}/${call.method.name}`,
        object: objectOf(call.request),
        result: error === undefined ? "ok" : errorCodeName(error.code),
        requestId: call.requestId,
      }),
    );
    this.#waitingOf.set(subject, (this.#waitingOf.get(subject) ?? 0) + 1);
    this.#timer ??= setTimeout(() => this.#flush(), batchMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const untilMs = performance.now() + lastTriesMs;
    const leftMs = (): number => Math.floor(untilMs - performance.now());
    clearTimeout(this.#timer);
    await this.#sending;
    for (let failures = 0; this.#waiting.length > 0 && failures < maxLastTries && leftMs() > 0;) {
      clearTimeout(this.#timer);
      await this.#send(leftMs());
      if (this.#away) failures += 1;
    }
    clearTimeout(this.#timer);
    if (this.#waiting.length > 0) this.#logger.error({ entries: this.#waiting.length }, "audit entries are lost");
  }

  #flush(): void {
    this.#timer = undefined;
    this.#sending ??= this.#send().finally(() => (this.#sending = undefined));
  }

  async #send(timeoutMs = appendTimeoutMs): Promise<void> {
    const entries = this.#waiting.slice(0, maxBatch);
    try {
      // The same entries again change nothing, so a lost answer does no harm.
      await this.#client.append({ entries }, { timeoutMs });
      this.#waiting.splice(0, entries.length);
      for (const { actor } of entries) this.#leave(actor?.userId ?? "");
      if (this.#away) this.#logger.info("the audit trail is written again");
      this.#away = false;
    } catch (err) {
      if (!this.#away) this.#logger.warn({ err }, "the audit trail cannot be written");
      this.#away = true;
    }
    if (this.#waiting.length > 0) this.#timer ??= setTimeout(() => this.#flush(), this.#away ? retryMs : 0);
  }

  #leave(userId: string): void {
    const left = (this.#waitingOf.get(userId) ?? 1) - 1;
    if (left === 0) this.#waitingOf.delete(userId);
    else this.#waitingOf.set(userId, left);
  }
}

function objectOf(request: Message | undefined): string {
  if (request === undefined) return "";
  const fields = request as unknown as Readonly<Record<string, unknown>>;
  for (const name of objectFields) {
    const value = fields[name];
    if (typeof value === "string" && value !== "") return value.slice(0, maxObjectChars);
  }
  return "";
}
