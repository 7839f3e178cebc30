import { CompiledQuery, type Kysely } from "kysely";
import { int8Array, textArray } from "../binary-array.ts";
import type { JobPlace } from "../job-patch.ts";
import type { Schema } from "../schema.ts";

/** A job that was published from its row. */
export interface ReleasedJob {
  readonly id: string;
  /** That the row had when it was claimed. */
  readonly version: number;
  readonly place: JobPlace;
}

/**
 * Takes the due time off jobs that their log has stored, and notes where. The state stays: it follows when the projector reads the
 * log. A row that has gone on since it was claimed is left alone.
 */
export async function markReleased(db: Kysely<Schema>, released: readonly ReleasedJob[]): Promise<void> {
  if (released.length === 0) return;
  await db.executeQuery(
    CompiledQuery.raw(
      `UPDATE jobs AS j SET due_at = NULL, stream = t.stream, stream_seq = t.seq, stream_version = t.place_version
       FROM unnest($1::text[], $2::int8[], $3::text[], $4::int8[], $5::int8[]) AS t (id, version, stream, seq, place_version)
       WHERE j.id = t.id AND j.version = t.version AND j.due_at IS NOT NULL`,
      [
        textArray(released.map(({ id }) => id)),
        int8Array(released.map(({ version }) => version)),
        textArray(released.map(({ place }) => place.stream)),
        int8Array(released.map(({ place }) => place.seq)),
        int8Array(released.map(({ place }) => place.version)),
      ],
    ),
  );
}
