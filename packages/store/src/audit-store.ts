import type { AuditRecord, ChainedRecord } from "./audit-chain.ts";
import type { RunQuery } from "./run-query.ts";
import { appendAudit } from "./sql/append-audit.ts";
import { listAudit, type AuditFilter, type AuditPage } from "./sql/list-audit.ts";
import { pruneAudit } from "./sql/prune-audit.ts";
import { markAuditAnnounced, readAudit, readAuditHead, type AuditHead } from "./sql/read-audit.ts";

/** The audit trail. Fails as Store does. */
export class AuditStore {
  readonly #run: RunQuery;

  constructor(run: RunQuery) {
    this.#run = run;
  }

  /** Adds to the end, all or none, at most 1000; what is there already (by id) is left out. @returns seq of the end */
  append(records: readonly Omit<AuditRecord, "seq">[]): Promise<number> {
    return this.#run((db) => appendAudit(db, records));
  }

  /** Newest first. */
  list(filter: AuditFilter, page: { readonly size: number; readonly token: string }): Promise<AuditPage> {
    return this.#run((db) => listAudit(db, filter, page));
  }

  /** Entries after a place, oldest first, at most so many. */
  read(afterSeq: number, limit: number): Promise<ChainedRecord[]> {
    return this.#run((db) => readAudit(db, afterSeq, limit));
  }

  head(): Promise<AuditHead> {
    return this.#run((db) => readAuditHead(db));
  }

  /** Removes what is older, some thousands at a time; see pruneAudit. @returns how many; 0 when there are no more */
  prune(beforeMs: number, nowMs: number): Promise<number> {
    return this.#run((db) => pruneAudit(db, beforeMs, nowMs));
  }

  /** Says that everything up to here was told; never goes back. */
  markAnnounced(seq: number): Promise<void> {
    return this.#run((db) => markAuditAnnounced(db, seq));
  }
}
