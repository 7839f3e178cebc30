import { randomUUID } from "node:crypto";
import { MillraceError } from "@millrace/protocol";
import type { IdentityStore } from "@millrace/store";

/** Beats that a member may miss before the others take over its share. */
const missedBeats = 4;

/** Tells how many identities share the database, this one among them. */
export class Membership implements AsyncDisposable {
  readonly #members: IdentityStore["members"];
  readonly #silentMs: number;
  readonly #id = randomUUID();
  #count = 1;

  /** @param beatMs how often its owner calls `beat` */
  constructor(members: IdentityStore["members"], beatMs: number) {
    this.#members = members;
    this.#silentMs = beatMs * missedBeats;
  }

  /** As of the last beat; what was true before the database went away goes on. */
  get count(): number {
    return this.#count;
  }

  async beat(): Promise<void> {
    try {
      this.#count = await this.#members.beat(this.#id, this.#silentMs);
    } catch (error) {
      // Who follows revocations says that the database is away.
      if (!(error instanceof MillraceError) || error.code !== "unavailable") throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Without a database it is forgotten for its silence.
    await this.#members.leave(this.#id).catch(() => undefined);
  }
}
